"""Fixtures of the small service in ``shop``."""

import itertools
from collections.abc import Callable

import pytest
from tests.common.shop import Shop

from spoel_common.store import StoreName


@pytest.fixture
def new_shop(site) -> Callable[..., Shop]:
    numbers = itertools.count(1)

    def make(database, service: str = "intake", store: str | None = None) -> Shop:
        return Shop(database, StoreName(site=site, service=service, store=store or f"s{next(numbers)}"))

    return make


@pytest.fixture
def shop(new_shop, database) -> Shop:
    return new_shop(database, store="main")


@pytest.fixture
async def sqlite_shop(new_shop, open_database, new_sqlite) -> Shop:
    return new_shop(await open_database(new_sqlite()), store="main")


@pytest.fixture
async def postgres_shop(new_shop, open_database, new_postgres) -> Shop:
    return new_shop(await open_database(new_postgres()), store="main")

"""A trial service, an application around it, and the log that it writes."""

import io
import json
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI
from tests.common.web.trial_service import ANNA, BERT, MIGRATION, Tokens, Trial, TrialSettings, router

from spoel_common.logging import configure_logging
from spoel_common.runtime import Runtime
from spoel_common.web import create_app


@pytest.fixture(autouse=True)
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """The log of a process, set up as a service sets it up, and undone again."""
    stream, root = io.StringIO(), logging.getLogger()
    before = root.level
    configure_logging("trial", "debug", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.reset_defaults()
    for handler in [handler for handler in root.handlers if handler.get_name() == "spoel"]:
        root.removeHandler(handler)
    root.setLevel(before)


@pytest.fixture(scope="session")
def trial_package(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("packages")
    versions = root / "spoel_trial" / "migrations" / "versions"
    versions.mkdir(parents=True)
    (root / "spoel_trial" / "__init__.py").touch()
    (versions / "v0001_first.py").write_text(MIGRATION)
    sys.path.insert(0, str(root))
    return "spoel_trial"


@pytest.fixture
def settings(tmp_path: Path) -> TrialSettings:
    return TrialSettings(database_url=f"sqlite:///{tmp_path}/trial.db", data_dir=tmp_path, nats_url=())


@pytest.fixture
def trial() -> Trial:
    return Trial()


MakeApp = Callable[..., FastAPI]


@pytest.fixture
def make_app(settings: TrialSettings, trial: Trial, trial_package: str) -> MakeApp:
    def make(**options: Any) -> FastAPI:
        runtime = Runtime(settings, trial_package, verifier=Tokens(ANNA, BERT))
        return create_app(runtime, title="Trial", routers=[router], state={"trial": trial}, **options)

    return make


@asynccontextmanager
async def _served(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://trial") as client,
    ):
        yield client


@pytest.fixture
def served() -> Callable[[FastAPI], AbstractAsyncContextManager[httpx.AsyncClient]]:
    return _served


@pytest.fixture
async def client(make_app: MakeApp) -> AsyncIterator[httpx.AsyncClient]:
    async with _served(make_app(open_paths="/stop/[^/]+")) as client:
        yield client


@pytest.fixture
def signed_in() -> Callable[..., dict[str, str]]:
    def headers(person: str = "anna", key: str | None = None) -> dict[str, str]:
        bearer = {"Authorization": f"Bearer {person}"}
        return bearer if key is None else {**bearer, "Idempotency-Key": key}

    return headers

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from spoel_local.identity_provider import IdentitySettings, build_app


@pytest.fixture
def settings(tmp_path: Path) -> IdentitySettings:
    return IdentitySettings(dev_identity=True, data_dir=tmp_path)


@pytest.fixture
def app(settings: IdentitySettings) -> FastAPI:
    return build_app(settings)


@pytest.fixture
def secret(app: FastAPI, settings: IdentitySettings) -> str:
    return settings.secret_file.read_text()


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8100") as client:
        yield client

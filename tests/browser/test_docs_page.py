"""What an integrator sees at /docs, in a real browser that has no way to the internet."""

import asyncio
import os
import socket
from pathlib import Path

import pytest
import uvicorn
from playwright.async_api import Request, async_playwright

from spoel_audit.app import build_app
from spoel_audit.settings import AuditSettings

CHROMIUM = os.environ.get("CHROMIUM") or "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-sync"]


@pytest.fixture
async def address(tmp_path):
    settings = AuditSettings(
        database_url=f"sqlite:///{tmp_path}/audit.db",
        data_dir=tmp_path,
        nats_url=(),
        issuer="http://127.0.0.1:9",
        jwks_url="http://127.0.0.1:9/jwks.json",
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(build_app(settings), log_level="warning"))
        serving = asyncio.create_task(server.serve([listener]))
        async with asyncio.timeout(20):
            while not server.started:
                await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        await serving


async def test_the_documentation_is_drawn_from_the_service_alone(address, tmp_path):
    asked: list[str] = []
    complaints: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page()
        page.on("request", note)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        await page.goto(f"{address}/docs")
        await page.get_by_text("/tlog/root").first.wait_for(timeout=20_000)
        await page.screenshot(path=os.environ.get("SCREENSHOT", Path(tmp_path) / "docs.png"))
        await browser.close()
    assert [url for url in asked if not url.startswith((address, "data:"))] == []
    assert complaints == []

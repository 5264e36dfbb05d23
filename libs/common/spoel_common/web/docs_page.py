"""The page ``/docs``: Swagger UI over the service's OpenAPI document, from files in the installation.

FastAPI's own page fetches its script from a CDN; a hospital's network has none. The files are those that the package
``fastapi-offline`` ships.
"""

import base64
import hashlib
import re
from pathlib import Path

import fastapi_offline
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

_ASSETS = "/docs/assets"
_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def add_docs_page(app: FastAPI) -> None:
    """Serve ``/docs`` and what it loads; nothing is fetched from elsewhere."""
    static = Path(fastapi_offline.__file__).with_name("static")
    app.mount(_ASSETS, StaticFiles(directory=static), name="docs-assets")
    page = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title=app.title,
        swagger_js_url=f"{_ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{_ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{_ASSETS}/favicon.png",
        swagger_ui_parameters={"defaultModelsExpandDepth": 0, "validatorUrl": None},
    )
    html = bytes(page.body)
    headers = {"Content-Security-Policy": _policy(html)}

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(html, headers=headers)


def _policy(html: bytes) -> str:
    """Return a policy that allows this page's one inline script by its hash, and no other source than the service."""
    hashes = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in _INLINE_SCRIPT.findall(html)]
    scripts = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
    )

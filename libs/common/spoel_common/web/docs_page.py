"""The page ``/docs``: what a service can be asked, readable without the internet and without any script."""

import json
from collections.abc import Iterator
from html import escape
from typing import Any

DOCS_CSP = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"

_STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a }
code, pre { font: 0.9rem ui-monospace, monospace }
pre { background: #f4f4f2; padding: 0.75rem; overflow-x: auto }
summary { cursor: pointer; padding: 0.3rem 0 }
summary b { display: inline-block; min-width: 4.5rem }
"""


def docs_page(document: dict[str, Any]) -> str:
    """Return an HTML page that shows an OpenAPI document, operations grouped by tag."""
    info = document["info"]
    groups: dict[str, list[str]] = {}
    for path, method, operation in _operations(document):
        tag = operation.get("tags", ["other"])[0]
        groups.setdefault(tag, []).append(_operation(path, method, operation))
    body = "".join(f"<h2>{escape(tag)}</h2>{''.join(items)}" for tag, items in groups.items())
    schemas = "".join(
        f'<details id="{escape(name)}"><summary>{escape(name)}</summary>{_pre(schema)}</details>'
        for name, schema in sorted(document.get("components", {}).get("schemas", {}).items())
    )
    title = escape(info["title"])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{title} {escape(info['version'])}</h1>"
        f"<p>{escape(info.get('description', ''))}</p>"
        '<p>The same for machines: <a href="/openapi.json">/openapi.json</a></p>'
        f"{body}<h2>Schemas</h2>{schemas}</body></html>"
    )


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document.get("paths", {}).items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    text = escape(operation.get("description", operation.get("summary", "")))
    shown = {key: operation[key] for key in ("parameters", "requestBody", "responses") if key in operation}
    return (
        f"<details><summary><b>{method}</b> <code>{escape(path)}</code> {escape(operation.get('summary', ''))}"
        f"</summary><p>{text}</p>{_pre(shown)}</details>"
    )


def _pre(value: object) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2, ensure_ascii=False))}</pre>"

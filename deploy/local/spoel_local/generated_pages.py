"""The pages under ``docs/`` that are generated from the code and its tests."""

from pathlib import Path

from spoel_local import events_page, problems, traceability


def write_pages(checkout: Path, *, only_check: bool = False) -> list[Path]:
    """Write the pages that differ from what they should say, or only look; return which those are."""
    docs = checkout / "docs"
    texts = {
        docs / "events.md": events_page.render(),
        docs / "problems.md": problems.render(),
        docs / "traceability.md": traceability.render(checkout / "tests", docs),
    }
    stale = [path for path, text in texts.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if not only_check:
        for path in stale:
            path.write_text(texts[path], encoding="utf-8")
    return stale

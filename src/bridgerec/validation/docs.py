"""Great Expectations' Data Docs as static pages with the same bytes for the same data."""

import re
from html import escape
from pathlib import Path
from typing import Any


def write_docs(folder: Path, results: dict[str, Any]) -> None:
    """One page per validated table, rendered by GX, and an index."""
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    folder.mkdir(parents=True)
    for name, result in results.items():
        # what differs between two runs on the same data: the time, random ids
        result.meta = {
            k: v for k, v in (result.meta or {}).items() if k in ("great_expectations_version",)
        }
        document = ValidationResultsPageRenderer().render(result)
        text = DefaultJinjaPageView().render(document)
        (folder / f"{name}.html").write_text(_fixed(text), encoding="utf-8")
    links = "".join(
        f'<li><a href="{escape(name)}.html">{escape(name)}</a> '
        f"{'passed' if result.success else 'has findings'}</li>"
        for name, result in results.items()
    )
    (folder / "index.html").write_text(
        '<!doctype html><meta charset="utf-8"><title>Data Docs</title><h1>Data Docs</h1>'
        f"<ul>{links}</ul>\n",
        encoding="utf-8",
    )


def _fixed(text: str) -> str:
    """Without the logo (fetched from elsewhere, stamped with the time), ids in order."""
    text = re.sub(r"<img[^>]*great-expectations-web-assets[^>]*>", "", text)
    pattern = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    order = {found: i for i, found in enumerate(dict.fromkeys(re.findall(pattern, text)))}
    return re.sub(pattern, lambda m: f"00000000-0000-0000-0000-{order[m.group()]:012d}", text)

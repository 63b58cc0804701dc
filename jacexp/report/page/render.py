"""A page as one HTML file: Jinja escapes what is stored, and a policy forbids browsers to fetch anything.

The script of the figures, Plotly's, lies in the file, and so do those of `page.js`; each is allowed by its hash.
"""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import plotly.io
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from jacexp.report.page.page import Page

FOLDER = Path(__file__).parent


def render(page: Page) -> str:
    """Write a page as HTML.

    Args:
        page: what is on it.

    Returns:
        A whole document, which needs no other file and no network.
    """
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["marks"] = marks
    scripts = [get_plotlyjs(), (FOLDER / "page.js").read_text(encoding="utf-8")]
    drawings = [figure.drawing for part in page.parts for figure in part.figures]
    data = {
        "figures": [json.loads(plotly.io.to_json(d, validate=False)) for d in drawings],
        "runs": {run.id: run.drawings for run in page.runs},
    }
    html = environment.get_template("page.html.j2").render(
        page=page,
        style=Markup((FOLDER / "page.css").read_text(encoding="utf-8")),
        scripts=[Markup(script) for script in scripts],
        policy=" ".join(f"'sha256-{_hash(script)}'" for script in scripts),
        data=Markup(as_data(data)),
    )
    return html.strip() + "\n"


def as_data(value: Any) -> str:
    """Write JSON that may stand between the tags of a script: nothing in it can end it."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def marks(text: str) -> Markup:
    """Escape a text of a table; its `code` and **bold** become elements."""
    escaped = re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text)))
    return Markup(re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escaped))


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()

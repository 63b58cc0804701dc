"""Every figure of the two papers, from stored tables to the bytes of a PNG and a PDF."""

import io
from collections.abc import Mapping

from jacexp.report import style
from jacexp.report.figures import boundary, cost, curves, size
from jacexp.report.figures.captioned import Captioned, Drawn, collect
from jacexp.report.select import Selection

METADATA: Mapping[str, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
}
"""No dates and no versions, so that the same tables give the same bytes."""


def draw_all(selection: Selection) -> Drawn:
    """Draw P1 Figures 2 to 4 and P2 Figures 3 to 5 as far as the store has their data."""
    drawn = collect(
        [
            curves.draw(selection, curves.ADVERSARIAL),
            curves.draw(selection, curves.GAUSSIAN),
            size.draw(selection),
            curves.draw(selection, curves.ROBUSTNESS),
            boundary.draw(selection),
            cost.draw(selection),
        ]
    )
    with style.column_style():
        for drawing in drawn.figures:
            style.settle(drawing.figure)
    return drawn


def files(drawing: Captioned) -> dict[str, bytes]:
    """Return the files of a figure by name."""
    made = {}
    with style.column_style():
        for ending, metadata in METADATA.items():
            buffer = io.BytesIO()
            drawing.figure.savefig(buffer, format=ending, metadata=metadata)
            made[f"{drawing.name}.{ending}"] = buffer.getvalue()
    return made


def captions(drawn: Drawn) -> str:
    """Write the captions of all figures as one Markdown text."""
    lines = ["# Figures", ""]
    for drawing in drawn.figures:
        lines += [f"## {drawing.name}", "", f"![{drawing.name}]({drawing.name}.png)", "", drawing.caption, ""]
    if drawn.gaps:
        lines += ["## Missing", "", "| what | command |", "|---|---|"]
        lines += [*(f"| {gap.what} | `{gap.command}` |" for gap in drawn.gaps), ""]
    return "\n".join(lines)

"""Every figure of the two papers, from stored tables to the bytes of a PNG and a PDF."""

import io
from collections.abc import Mapping

from jacexp.report import style
from jacexp.report.figures import boundary, cost, curves, size
from jacexp.report.figures.captioned import Captioned, Drawn, collect, listed
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
        for made in drawn.figures:
            style.settle(made.figure)
    return drawn


def files(captioned: Captioned) -> dict[str, bytes]:
    """Return the files of a figure by name."""
    contents = {}
    with style.column_style():
        for ending, metadata in METADATA.items():
            buffer = io.BytesIO()
            captioned.figure.savefig(buffer, format=ending, metadata=metadata)
            contents[f"{captioned.name}.{ending}"] = buffer.getvalue()
    return contents


def captions(drawn: Drawn) -> str:
    """Write the captions of all figures as one Markdown text."""
    lines = ["# Figures", "", *listed(drawn.figures)]
    if drawn.gaps:
        lines += ["## Missing", "", "| what | command |", "|---|---|"]
        lines += [*(f"| {gap.what} | `{gap.command}` |" for gap in drawn.gaps), ""]
    return "\n".join(lines)

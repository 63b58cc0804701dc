"""Draw docs/figures/architecture.svg from the imports: python docs/figures/architecture.py; --check compares only.

A room is a package or a lone module. It stands one floor above the highest room that it imports; an arrow that other
arrows imply is left out. Below the house are the ways of an image, of a strength and of a sweep's job: every stop names
a file and what is called there, and both must exist.
"""

import ast
import sys
import textwrap
from collections.abc import Iterator
from functools import cache
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "figures" / "architecture.svg"
WIDTH, ROOM, HEIGHT, GAP, LINE = 1180, 44, 96, 18, 15

Imports = dict[str, set[str]]

WAYS = {
    "an image, to its logits": (
        "jacexp/data/load.py:load",
        "jacexp/data/split.py:split",
        "jacexp/data/loader.py:Loader",
        "jacexp/train/module.py:RegularizedModule.training_step",
        "jacexp/models/network.py:Normalize",
        "jacexp/jacobian/step.py:explicit_loss",
        "jacexp/jacobian/step.py:Step",
        "jacexp/jacobian/passes.py:PassesLinearization",
        "jacexp/jacobian/graph.py:Program.sweep",
        "jacexp/jacobian/rules/base.py:Rule.forward",
    ),
    "method.lam, to its gradient": (
        "jacexp/train/job.py:hyperparameters",
        "jacexp/train/job.py:make_method",
        "jacexp/methods/method.py:Method.compute",
        "jacexp/jacobian/step.py:explicit_loss",
        "jacexp/methods/spec.py:SpectralNorm.passes",
        "jacexp/jacobian/step.py:Step.add",
        "jacexp/jacobian/rules/weighted.py:Weighted.gradients",
    ),
    "a job of a sweep, to result.json": (
        "hydra_plugins/jacexp_launcher/launcher.py:JacexpLauncher.launch",
        "jacexp/sweep/launch.py:launch",
        "jacexp/sweep/compose.py:Composer",
        "jacexp/sweep/engine.py:train_missing",
        "jacexp/sweep/executors.py:Processes.train",
        "jacexp/train/run.py:run",
        "jacexp/train/run.py:fit",
        "jacexp/train/recorder.py:Recorder",
        "jacexp/train/result.py:record",
        "jacexp/store/runs.py:write_json",
        "jacexp/store/merge.py:merge_runs",
    ),
}
"""Which definitions are called one after another; the order is a reader's, that they are there is checked."""

PURPOSES = {
    "hydra_plugins": "Hydra's launchers for sweeps",
    "scripts": "The commands of this checkout",
    "train": "python train.py +method=NAME",
    "jacexp/train": "A run, alone or in a stack, from its configuration to its result",
}
"""What folders and programs without a docstring of their own are for."""


def sources() -> list[Path]:
    """List the source files: the package, the launchers, the scripts and train.py."""
    folders = ("jacexp", "hydra_plugins", "scripts")
    return [ROOT / "train.py", *sorted(path for f in folders for path in (ROOT / f).rglob("*.py"))]


def room_of(path: Path) -> str:
    """Return the room that a file stands in: jacexp/data/load.py -> jacexp/data."""
    parts = path.relative_to(ROOT).parts
    return "/".join(parts[: 2 if parts[0] == "jacexp" else 1]).removesuffix(".py")


def imported(path: Path) -> Iterator[Path]:
    """Yield the project's files that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            for end in (len(parts), len(parts) - 1):
                base = ROOT.joinpath(*parts[:end])
                found = [p for p in (base.with_suffix(".py"), base / "__init__.py") if end and p.exists()]
                if found:
                    yield found[0]
                    break


def rooms() -> Imports:
    """Map each room to the rooms that it imports; jacexp itself only re-exports, so it is none."""
    graph: Imports = {}
    for path in sources():
        own = room_of(path)
        if own != "jacexp/__init__":
            targets = {room_of(target) for target in imported(path)} - {own, "jacexp/__init__"}
            graph.setdefault(own, set()).update(targets)
    return graph


def floors(graph: Imports) -> dict[str, int]:
    """Return the floor of each room, 0 for one that imports none.

    Raises:
        RecursionError: if rooms import each other in a circle.
    """

    @cache
    def floor(room: str) -> int:
        return 1 + max((floor(below) for below in graph[room]), default=-1)

    return {room: floor(room) for room in sorted(graph)}


def reduced(graph: Imports) -> Imports:
    """Leave out each import that a chain of others implies."""

    @cache
    def reach(room: str) -> frozenset[str]:
        return frozenset(graph[room]).union(*(reach(below) for below in graph[room]))

    return {
        room: {b for b in below if not any(b in reach(other) for other in below)}
        for room, below in graph.items()
    }


def purpose(room: str) -> str:
    """Return the first sentence of a room's docstring, the program's own for a folder that is no package."""
    path = next(p for p in (ROOT / room / "__init__.py", ROOT / f"{room}.py", ROOT) if p.exists())
    words = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) if path.is_file() else None) or ""
    return PURPOSES.get(room) or words.split("\n\n")[0].replace("\n", " ").partition(". ")[0].partition("; ")[
        0
    ].rstrip(".")


def wrapped(text: str, width: int) -> list[str]:
    """Break a text into lines of at most so many characters."""
    return textwrap.wrap(text, width, break_long_words=False)


def picture(graph: Imports) -> str:
    """Return the picture as SVG: floors from the top down, arrows from who imports to what is imported."""
    floor = floors(graph)
    levels = [
        sorted(room for room in graph if floor[room] == level) for level in range(max(floor.values()) + 1)
    ]
    boxes: dict[str, tuple[float, float, float]] = {}
    for row, level in enumerate(reversed(levels)):
        width = min(260.0, (WIDTH - GAP) / len(level) - GAP)
        left = (WIDTH - len(level) * (width + GAP) + GAP) / 2
        for column, room in enumerate(level):
            boxes[room] = (left + column * (width + GAP), GAP + row * HEIGHT, width)
    house = GAP + len(levels) * HEIGHT - (HEIGHT - ROOM) + GAP
    height = house + LINE * (2 + max(map(len, WAYS.values()))) + GAP
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
        "<defs><marker id='tip' viewBox='0 0 8 8' refX='8' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
        "<path d='M0 0L8 4L0 8z' fill='#888'/></marker></defs>",
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for room, below in sorted(reduced(graph).items()):
        x, y, width = boxes[room]
        for target in sorted(below):
            tx, ty, t_width = boxes[target]
            lines.append(
                f'<line x1="{x + width / 2:.0f}" y1="{y + ROOM:.0f}" x2="{tx + t_width / 2:.0f}" y2="{ty:.0f}" '
                'stroke="#888" marker-end="url(#tip)"/>'
            )
    for room, (x, y, width) in sorted(boxes.items()):
        lines.append(
            f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{ROOM}" rx="4" fill="#eef3f8" '
            'stroke="#35618e"/>'
        )
        middle = x + width / 2
        bold = 'text-anchor="middle" font-size="13" font-weight="bold"'
        lines.append(text(middle, y + 15, room, bold))
        for n, line in enumerate(wrapped(purpose(room), int(width / 5.4))[:2]):
            lines.append(text(middle, y + 27 + 11 * n, line, 'text-anchor="middle" font-size="9.5"'))
    for column, (way, stops) in enumerate(WAYS.items()):
        x = GAP + column * (WIDTH - GAP) / len(WAYS)
        lines.append(text(x, house + LINE, f"The way of {way}", 'font-size="12" font-weight="bold"'))
        for n, stop in enumerate(stops, 1):
            file, _, name = stop.partition(":")
            check(file, name)
            shown = f"{n}. {file.removeprefix('jacexp/').removeprefix('hydra_plugins/')}: {name}"
            lines.append(text(x, house + LINE * (1 + n), shown, 'font-size="10"'))
    return "\n".join([*lines, "</svg>", ""])


def text(x: float, y: float, words: str, style: str) -> str:
    """Write words at a place."""
    return f'<text x="{x:.0f}" y="{y:.0f}" {style}>{escape(words)}</text>'


def check(file: str, name: str) -> None:
    """Check that a file defines a name, such as a class or Class.method.

    Raises:
        SystemExit: if it does not.
    """
    body: list[ast.stmt] = (
        ast.parse((ROOT / file).read_text(encoding="utf-8")).body if (ROOT / file).exists() else []
    )
    for part in name.split("."):
        found = [n for n in body if isinstance(n, ast.ClassDef | ast.FunctionDef) and n.name == part]
        if not found:
            sys.exit(f"{file} has no {name}: mend WAYS in {Path(__file__).relative_to(ROOT)}")
        body = found[0].body


def main() -> None:
    """Draw the picture, or with --check say whether the one that is there is today's.

    Raises:
        SystemExit: if it is not.
    """
    today = picture(rooms())
    if "--check" not in sys.argv:
        PICTURE.write_text(today, encoding="utf-8")
    elif not PICTURE.exists() or PICTURE.read_text(encoding="utf-8") != today:
        sys.exit("docs/figures/architecture.svg is not today's: run python docs/figures/architecture.py")


if __name__ == "__main__":
    main()

"""What a figure module hands back: figures with their captions, and what could not be drawn."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from jacexp.report import commands
from jacexp.report.paper import Experiment
from jacexp.report.select import How, Selection


@dataclass(frozen=True)
class Captioned:
    """One figure."""

    name: str
    """The file name without its ending."""
    figure: Figure
    caption: str


@dataclass(frozen=True)
class Gap:
    """Something that is not stored, and the command that makes it."""

    what: str
    command: str


@dataclass(frozen=True)
class Drawn:
    """Everything that one figure module made of the store."""

    figures: tuple[Captioned, ...] = ()
    gaps: tuple[Gap, ...] = ()


def collect(parts: Iterable[Drawn]) -> Drawn:
    """Join what several figure modules made."""
    made = list(parts)
    gaps = dict.fromkeys(g for d in made for g in d.gaps)
    return Drawn(tuple(f for d in made for f in d.figures), tuple(gaps))


def lacking(evaluation: str, experiment: Experiment, methods: Sequence[str]) -> str:
    """Return in words which methods an evaluation lacks."""
    return f"{evaluation} on {experiment.dataset} for {', '.join(methods)}"


def gaps_of(
    selection: Selection, evaluation: str, experiment: Experiment, methods: Sequence[str]
) -> list[Gap]:
    """List what an evaluation of some methods lacks: networks, where none were trained, and the evaluation itself."""
    if not methods:
        return []
    untrained = [m for m in methods if selection.choice(experiment, m).best is None]
    gaps = [
        Gap(f"networks of {m} on {experiment.dataset}", commands.train(experiment, m, selection.how))
        for m in untrained
    ]
    return [*gaps, Gap(lacking(evaluation, experiment, methods), commands.evaluate(evaluation, experiment))]


def yours(selection: Selection, runs: Iterable[str]) -> list[str]:
    """Return the sentences of a caption on how many of the networks that it is about are the user's."""
    drawn = set(runs)
    mine = len(drawn & selection.store.yours)
    return [f"Yours: {mine} of the {len(drawn)} networks"] if mine else []


def not_run(what: Sequence[str]) -> list[str]:
    """Return the sentences of a caption on what is missing."""
    return [f"Not run: {'; '.join(what)}"] if what else []


def listed(figures: Iterable[Captioned]) -> list[str]:
    """Return the lines of a Markdown text that shows figures with their captions."""
    return [
        line
        for f in figures
        for line in (f"## {f.name}", "", f"![{f.name}]({f.name}.png)", "", f.caption, "")
    ]


def caption(title: str, sentences: Sequence[str], how: How) -> str:
    """Write a caption: a title, then sentences; a selection on the test set is said last."""
    selected = ["Hyper-parameters were selected on the test set."] if how == "paper" else []
    return " ".join([f"**{title}.**", *(f"{s.rstrip('.')}." for s in sentences if s), *selected])

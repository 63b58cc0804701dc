"""Which runs are drawn together, and which of a method's settings stands for it: the best by validation."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from jacexp.errors import ConfigError
from jacexp.report.groups import Group, groups_of, ranked, text, varied
from jacexp.report.paper import METHODS, method_name, set_name
from jacexp.report.select import How
from jacexp.report.style import DASHDOT, DASHED, DOTTED, LOOKS, Look
from jacexp.store.tables import CONFIG, STRENGTHS

STUDY = ("dataset", "model", "protocol", "select", "n_epochs", "subset", "augment")
"""What all runs of a study share, beside the arguments of data sets and networks of one's own."""

N_LINES = 12
"""As many lines as can be told apart."""

ORDER = (*METHODS["P2"], *METHODS["P1"])
"""The methods in the order of the legend; one of one's own comes after them."""

MORE = (
    Look("#882255", "h", "-"),
    Look("#44AA99", "H", DASHED),
    Look("#999933", "8", DASHDOT),
    Look("#DDCC77", "X", DOTTED),
    Look("#661100", "<", "-"),
    Look("#6699CC", ">", DASHED),
    *(look for name, look in LOOKS.items() if name not in ("none", "analytical")),
)
"""The looks of methods of one's own, and of several lines of one method."""


@dataclass(frozen=True)
class Line:
    """One line of every figure of a study: the networks of one setting, one a seed."""

    label: str
    look: Look
    runs: pd.DataFrame
    """The runs of the setting, all of them done."""
    n_settings: int
    """How many settings it was chosen from: those with the most seeds and no lost run."""
    n_aside: int
    """How many other settings there are."""
    searched: Mapping[str, Any]
    """The setting's values in the columns in which those settings differ, and its strength."""
    is_mixed: bool
    """Whether the user's runs are told from those of the reference."""

    @property
    def ids(self) -> list[str]:
        """The names of its runs."""
        return [str(run) for run in self.runs["run"]]

    def count(self, runs: Sequence[str]) -> str:
        """Write how many of its networks something is about, and how many of them are the user's."""
        mine = self.runs[self.runs["run"].isin(runs)]
        yours = int((mine["source"] == "yours").sum()) if self.is_mixed else 0
        return f"{len(mine)} ({yours} yours)" if yours else str(len(mine))

    @property
    def sentence(self) -> str:
        """Return which networks these are, for a caption."""
        seeds = ", ".join(str(int(seed)) for seed in self.runs["seed"])
        setting = "".join(f", {c} = {text(v)}" for c, v in self.searched.items())
        best = f", the best of {self.n_settings} settings by validation loss" if self.n_settings > 1 else ""
        aside = f", beside {self.n_aside} settings with fewer seeds or a lost run" if self.n_aside else ""
        return f"{self.label}{setting}: n = {self.count(self.ids)}, seeds {seeds}{best}{aside}"


@dataclass(frozen=True)
class Study:
    """The runs of one data set and network under one protocol, and the lines that are drawn of them."""

    slug: str
    """A name for files."""
    dataset: str
    """As figures write it."""
    title: str
    """What was trained on what, in words."""
    runs: pd.DataFrame
    """Whatever became of them."""
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    """Why a line that was asked for is not drawn, one sentence each."""

    @property
    def how(self) -> How:
        """What hyper-parameters are selected on."""
        return "paper" if (self.runs["select"] == "paper").any() else "holdout"


def is_shared(column: str) -> bool:
    """Return whether runs that differ in a column belong to different studies."""
    return column in STUDY or column.startswith(("data.", "dataset.", "model."))


def is_searched(column: str) -> bool:
    """Return whether a column tells settings of a method apart."""
    known = column in CONFIG or "." in column
    return known and not is_shared(column) and column not in ("seed", "options", "method")


def is_told(column: str) -> bool:
    """Return whether a column may tell lines apart: by what was trained or by whose it is, not by its result."""
    return column in (*CONFIG, "strength", "source", "run") or "." in column


def studies(runs: pd.DataFrame, by: Sequence[str] = (), methods: Sequence[str] = ()) -> list[Study]:
    """Divide runs into studies, and choose what stands for each line.

    Args:
        runs: as `jacexp.results.load` returns them.
        by: the columns whose values make a line, beside the method.
        methods: in the order of the legend; the papers' order by default.

    Returns:
        The studies, in the order of their names.

    Raises:
        ConfigError: for a column of results, or more lines than can be told apart.
    """
    if wrong := [c for c in by if not is_told(c)]:
        raise ConfigError(
            f"by={wrong[0]} is a result, and lines are of what was trained: choose such columns"
        )
    by = tuple(dict.fromkeys(("method", *by)))
    is_mixed = runs["source"].nunique() > 1
    shared = [c for c in runs.columns if is_shared(c) and c not in by]
    parts = [part for _, part in runs.groupby(shared, dropna=False, sort=True)]
    apart = [c for c in shared if c not in ("dataset", "model") and runs[c].nunique(dropna=False) > 1]
    return [_study(part, by, methods or ORDER, apart, is_mixed) for part in parts]


def _study(
    runs: pd.DataFrame, by: Sequence[str], order: Sequence[str], apart: Sequence[str], is_mixed: bool
) -> Study:
    first = runs.iloc[0]
    names = [first["dataset"], first["model"], *(f"{c}-{text(first[c])}" for c in apart)]
    title = [
        set_name(first["dataset"]),
        first["model"],
        f"{int(first['n_epochs'])} epochs",
    ]
    title += [f"{int(first['subset']):,} training images"] if not pd.isna(first["subset"]) else []
    title += [f"{c} {text(first[c])}" for c in apart if c not in ("n_epochs", "subset")]
    groups = sorted(groups_of(runs, by), key=lambda group: _place(group, order))
    if len(groups) > N_LINES:
        raise ConfigError(
            f"by={','.join(by[1:] or by)} makes {len(groups)} lines on {title[0]}, and {N_LINES} can be told apart; "
            "choose values"
        )
    looks = _looks([str(group.key["method"]) for group in groups])
    lines, notes = [], []
    for look, group in zip(looks, groups, strict=True):
        line = _line(group, look, is_mixed)
        if isinstance(line, str):
            notes.append(line)
        else:
            lines.append(line)
    slug = re.sub(r"[^\w.-]+", "_", "-".join(map(str, names)))
    return Study(slug, str(title[0]), ", ".join(map(str, title)), runs, tuple(lines), tuple(notes))


def _place(group: Group, order: Sequence[str]) -> tuple[int, str]:
    method = str(group.key["method"])
    return order.index(method) if method in order else len(order), method


def _looks(methods: Sequence[str]) -> list[Look]:
    """Assign each line a look: the method's own where it has one line, else one that no other line has."""
    own = [LOOKS[m] if m in LOOKS and methods.count(m) == 1 else None for m in methods]
    left = iter([look for look in MORE if look not in own])
    return [look or next(left) for look in own]


def _line(group: Group, look: Look, is_mixed: bool) -> Line | str:
    """Choose the setting that stands for a group."""
    label = _label(group.key)
    columns = [c for c in group.runs.columns if is_searched(c) and c not in group.key]
    differing = [c for c in columns if c in varied([group])]
    settings = ranked(groups_of(group.runs, differing))
    best, first = settings[0], settings[0].runs.iloc[0]
    if not math.isfinite(best.val_loss):
        return f"{label}: no setting is drawn, for each has a run that is not done"
    compared = [s for s in settings if math.isfinite(s.val_loss) and len(s.runs) == len(best.runs)]
    told = [c for c in columns if c in differing or (c in STRENGTHS and not pd.isna(first[c]))]
    searched = {c: first[c] for c in told}
    return Line(label, look, best.runs, len(compared), len(settings) - len(compared), searched, is_mixed)


def _label(key: Mapping[str, Any]) -> str:
    others = (text(v) if c == "source" else f"{c} {text(v)}" for c, v in key.items() if c != "method")
    return ", ".join([method_name(str(key["method"])), *others])

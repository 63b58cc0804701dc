"""The settings of a sweep as a page names and draws them: per data set and network, each method's, best first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from jacexp.report.groups import Group, groups_of, label, ranked, varied


@dataclass(frozen=True, eq=False)
class Setting:
    """Runs of one method that differ in their seeds alone."""

    method: str
    name: str
    """The method, and in brackets the values in which its settings differ."""
    group: Group

    @property
    def runs(self) -> list[str]:
        """The names of its runs."""
        return list(self.group.runs["run"])


@dataclass(frozen=True)
class Sweep:
    """Everything that is stored of one network on one data set."""

    dataset: str
    model: str
    settings: tuple[Setting, ...]
    """By method, best first: of the settings with most runs and none lost that with the lowest validation loss."""

    @property
    def title(self) -> str:
        """The data set and the network."""
        return f"{self.dataset}, {self.model}"

    @property
    def runs(self) -> list[str]:
        """The names of all its runs."""
        return [run for setting in self.settings for run in setting.runs]


def sweeps_of(runs: pd.DataFrame) -> list[Sweep]:
    """Divide runs, as `jacexp.results.load` returns them, by data set and network, and these by setting."""
    return [
        Sweep(str(g.key["dataset"]), str(g.key["model"]), tuple(_settings(g.runs)))
        for g in groups_of(runs, ["dataset", "model"])
    ]


def _settings(runs: pd.DataFrame) -> list[Setting]:
    settings = []
    for method in groups_of(runs, ["method"]):
        columns = varied([method])
        groups = ranked(groups_of(method.runs, columns))
        name = str(method.key["method"])
        settings += [Setting(name, _name(name, group, columns), group) for group in groups]
    return settings


def _name(method: str, group: Group, columns: Sequence[str]) -> str:
    told = {c: group.key[c] for c in columns if group.key[c] is not None}
    return f"{method} ({label(told)})" if told else method


def first_of_each_method(settings: Iterable[Setting]) -> set[Setting]:
    """Choose those that stand for their methods, of settings in the order of a sweep."""
    first: dict[str, Setting] = {}
    for setting in settings:
        first.setdefault(setting.method, setting)
    return set(first.values())

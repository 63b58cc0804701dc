"""Selection: which setting of a method stands for it, from the validation columns of ``runs.csv`` alone.

P1 takes the strength with the lowest mean validation error over its subsets, P2 the setting with the lowest mean
validation loss over its 5 seeds. With ``select=paper`` the validation images are the test set, and every table and
figure says so.
"""

import json
import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import pandas as pd

from jacexp.errors import StoreError
from jacexp.report.paper import (
    EXPERIMENTS,
    FORMERLY,
    METHODS,
    N_TRAIN,
    PROTOCOLS,
    SIZES,
    Experiment,
    grid_size,
    is_switch,
    size_experiment,
    switches,
)
from jacexp.report.schema import Store
from jacexp.store.tables import RUNS, STRENGTHS

How = Literal["holdout", "paper"]

SEARCHED = ("lam", "beta", "epsilon", "options", "lr", "momentum", "batch_size", "precision", "checkpoint")
"""The columns that tell two settings of one method apart."""


@dataclass(frozen=True)
class Setting:
    """One setting of a method: its runs, one a seed, and what the validation images say about it."""

    values: Mapping[str, Any]
    """By column of `SEARCHED`, empty ones left out."""
    runs: pd.DataFrame
    """One row a seed, in the order of the seeds."""
    error: float
    """The mean over its seeds of the share of validation images that are wrong; infinite if a run is not done."""
    loss: float
    """The mean over its seeds of the validation loss; infinite if a run is not done."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that are stored, whatever became of them."""
        return tuple(int(seed) for seed in self.runs["seed"])

    @property
    def lost(self) -> Mapping[int, str]:
        """What became of the seeds that are not done: ``diverged`` or ``failed``."""
        bad = self.runs[self.runs["status"] != "done"]
        return {int(seed): str(end) for seed, end in zip(bad["seed"], bad["status"], strict=True)}

    @property
    def strength(self) -> float | None:
        """The method's lam, beta or epsilon."""
        value = next((self.values[c] for c in STRENGTHS if c in self.values), None)
        return None if value is None else float(value)

    @property
    def is_whole(self) -> bool:
        """Whether each of its runs is done and has a validation loss."""
        return math.isfinite(self.loss)

    def score(self, paper: str) -> tuple[float, ...]:
        """What is minimised, ties broken by the other criterion and then by the weaker setting."""
        first, second = (self.error, self.loss) if paper == "P1" else (self.loss, self.error)
        numbers = [v for v in self.values.values() if isinstance(v, float)]
        return (first, second, *numbers)


@dataclass(frozen=True)
class Choice:
    """The setting that stands for one method in one experiment, and how it was found."""

    experiment: Experiment
    method: str
    variant: str
    """Switches that are not at the value of the papers' cells; empty for the method as the paper has it."""
    settings: tuple[Setting, ...]
    """All that is stored, best first."""

    @property
    def best(self) -> Setting | None:
        """The chosen setting; None where every setting has a run that is not done."""
        return self.settings[0] if self.settings and self.settings[0].is_whole else None

    @property
    def runs(self) -> pd.DataFrame:
        """The runs of the chosen setting."""
        return self.best.runs if self.best else pd.DataFrame(columns=list(RUNS))

    @property
    def missing_seeds(self) -> tuple[int, ...]:
        """Seeds that the paper's number of runs asks for and the chosen setting lacks."""
        seeds = self.best.seeds if self.best else ()
        return tuple(s for s in range(self.experiment.n_seeds or 0) if s not in seeds)

    @property
    def notes(self) -> list[str]:
        """What a reader of the result has to know: seeds lost, seeds missing, settings put aside, grid not searched."""
        notes = []
        full = len(self.best.seeds) if self.best else 0
        lost = [s for s in self.settings if s.lost]
        if lost:
            seeds = ", ".join(
                f"{describe(s)}: seed {seed} {end}" for s in lost for seed, end in s.lost.items()
            )
            notes.append(f"settings with a lost run cannot be chosen ({seeds})")
        partial = [describe(s) for s in self.settings if s.is_whole and len(s.seeds) < full]
        if partial:
            notes.append(f"not considered, with fewer than {full} seeds: {', '.join(partial)}")
        if self.best and self.missing_seeds:
            notes.append(f"seeds {', '.join(map(str, self.missing_seeds))} are missing")
        searched, size = len(self.settings), grid_size(self.experiment, self.method)
        if self.experiment.n_seeds is not None and 0 < searched < size:
            notes.append(f"{searched} of the {size} settings of the grid were searched")
        return notes


def describe(setting: Setting) -> str:
    """Name a setting by the values that were searched, as in ``lam = 0.01, lr = 0.01, batch_size = 16``."""
    shown = [f"{c} = {setting.values[c]:g}" for c in (*STRENGTHS, "lr", "batch_size") if c in setting.values]
    precision = setting.values.get("precision", "32")
    return ", ".join(shown if precision == "32" else [*shown, f"precision = {precision}"])


def percent(choice: Choice) -> pd.Series:
    """Return the test result of a choice's networks, by seed: error in percent for P1, accuracy for P2."""
    runs = choice.runs.set_index("seed")
    if runs.empty:
        return pd.Series(dtype=float)
    accuracy = 100 * runs["n_test_correct"] / runs["n_test"]
    return 100 - accuracy if choice.experiment.paper == "P1" else accuracy


def settings_of(runs: pd.DataFrame) -> list[Setting]:
    """Group the runs of one method and variant into settings."""
    if runs.empty:
        return []
    # Missing strengths are NaN; pandas drops NaN keys unless told not to.
    groups = runs.groupby(list(SEARCHED), dropna=False, sort=True)
    return [_setting(group.sort_values("seed", kind="stable")) for _, group in groups]


def _setting(runs: pd.DataFrame) -> Setting:
    # Only the validation columns are read here: a test column must not be able to change a selection.
    done = (runs["status"] == "done").all() and (runs["n_val"] > 0).all()
    error = float((1 - runs["n_val_correct"] / runs["n_val"]).mean(skipna=False)) if done else math.nan
    loss = float(runs["val_loss"].mean(skipna=False)) if done else math.nan
    bad = math.isnan(error) or not math.isfinite(loss)
    first = runs.iloc[0]
    values = {c: first[c] for c in SEARCHED if not (pd.isna(first[c]) or first[c] == "")}
    return Setting(values, runs, math.inf if bad else error, math.inf if bad else loss)


def choose(runs: pd.DataFrame, experiment: Experiment, method: str, variant: str = "") -> Choice:
    """Rank the settings of one method.

    A diverged or failed run makes its setting infinitely bad. Of the others those with the most seeds come first,
    because a mean over fewer seeds is not comparable; among them the lowest score wins.

    Args:
        runs: the rows of one experiment, one way of selection.
        experiment: what they are runs of.
        method: as in the ``method`` column.
        variant: as `variant_of` gives it.

    Returns:
        All settings, best first.
    """
    mine = runs[(runs["method"] == method) & (runs["variant"] == variant)]
    ranked = sorted(
        settings_of(mine), key=lambda s: (not s.is_whole, -len(s.seeds), *s.score(experiment.paper))
    )
    return Choice(experiment, method, variant, tuple(ranked))


def variant_of(method: str, options: str, checkpoint: str) -> str:
    """Name the switches of a run that are not at the papers' value, as in ``conv=operator, checkpoint=best``.

    Args:
        method: whose options.
        options: a JSON object of the method's switches.
        checkpoint: which epoch was tested; ``last`` is the papers'.

    Returns:
        The names and values, sorted; empty for the papers' variant.

    Raises:
        StoreError: for options that are not a JSON object.
    """
    other = {k: v for k, v in unusual(method, options).items() if is_switch(k)}
    if checkpoint not in ("", "last"):
        other["checkpoint"] = checkpoint
    return ", ".join(f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in sorted(other.items()))


def unusual(method: str, options: str) -> dict[str, object]:
    """Return the options of a run that are not at the papers' value.

    A switch that a run was stored without is at its default, or at what that was before.

    Raises:
        StoreError: for options that are not a JSON object.
    """
    usual = switches(method)
    try:
        pairs = {k: v for k, v in FORMERLY.items() if k in usual} | json.loads(options or "{}")
    except (ValueError, TypeError) as error:
        raise StoreError(f"runs.csv: options {options!r} of {method} are not a JSON object") from error
    return {k: v for k, v in sorted(pairs.items()) if k not in usual or usual[k] != v}


class Selection:
    """The stored runs under one way of selection: which experiments there are and who stands for each method."""

    def __init__(self, store: Store, how: How) -> None:
        """Prepare the runs; nothing is chosen before it is asked for."""
        self.store = store
        self.how = how
        runs = store.runs[store.runs["select"] == how]
        texts = zip(runs["method"], runs["options"], runs["checkpoint"], strict=True)
        augmented = ~runs["augment"].isin(["", "none"])
        paper = runs["protocol"].map(PROTOCOLS).fillna("")
        # A subset as large as the set is the set.
        subset = runs["subset"].where(runs["subset"] != runs["dataset"].map(N_TRAIN))
        variants = [variant_of(*text) for text in texts]
        options = [json.dumps(unusual(*of)) for of in zip(runs["method"], runs["options"], strict=True)]
        self.runs = runs.assign(
            options=options, variant=variants, augmented=augmented, subset=subset, paper=paper
        )
        self._choices: dict[Hashable, Choice] = {}
        self._networks: dict[Experiment, pd.DataFrame] = {}

    def choice(self, experiment: Experiment, method: str, variant: str = "") -> Choice:
        """Return the setting that stands for a method in an experiment."""
        key = (experiment, method, variant)
        if key not in self._choices:
            self._choices[key] = choose(self._runs_of(experiment), experiment, method, variant)
        return self._choices[key]

    def networks(self, experiment: Experiment) -> pd.DataFrame:
        """Return the runs that stand for the methods of an experiment, as the papers have them, by their ids."""
        if experiment not in self._networks:
            choices = [self.choice(experiment, m) for m, variant in self.methods(experiment) if not variant]
            runs = [c.runs for c in choices if c.best]
            self._networks[experiment] = (pd.concat(runs) if runs else self.runs.head(0)).set_index("run")
        return self._networks[experiment]

    def methods(self, experiment: Experiment) -> list[tuple[str, str]]:
        """Return the (method, variant) pairs of an experiment: the paper's methods first, stored or not."""
        own = [(m, "") for m in METHODS[experiment.paper]] if experiment.n_seeds is not None else []
        runs = self._runs_of(experiment)
        stored = set(zip(runs["method"], runs["variant"], strict=True)) - set(own)
        order = [*METHODS["P2"], *METHODS["P1"]]
        return own + sorted(stored, key=lambda mv: (order.index(mv[0]) if mv[0] in order else len(order), mv))

    @cached_property
    def others(self) -> list[Experiment]:
        """The experiments that are stored and in neither paper: other data, other epochs, other subsets."""
        columns = ["paper", "dataset", "model", "n_epochs", "subset", "augmented"]
        distinct = self.runs[columns].drop_duplicates().sort_values(columns).to_dict("records")
        found = [
            Experiment(
                r["paper"], r["dataset"], r["model"], int(r["n_epochs"]), _whole(r["subset"]), r["augmented"]
            )
            for r in distinct
            if r["paper"]
        ]
        known = set(_papers_own())
        return [e for e in found if e not in known]

    def _runs_of(self, experiment: Experiment) -> pd.DataFrame:
        r, e = self.runs, experiment
        same_subset = r["subset"].isna() if e.subset is None else r["subset"] == e.subset
        same_data = (r["dataset"] == e.dataset) & same_subset & (r["augmented"] == e.augmented)
        same_training = (r["paper"] == e.paper) & (r["model"] == e.model) & (r["n_epochs"] == e.n_epochs)
        return r[same_data & same_training]


def _papers_own() -> Iterator[Experiment]:
    for experiments in EXPERIMENTS.values():
        yield from experiments
    for size in SIZES:
        yield from (size_experiment(size, augmented=a) for a in (False, True))


def _whole(number: float) -> int | None:
    return None if math.isnan(number) else int(number)

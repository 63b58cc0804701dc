"""Stored results as tidy tables, for a notebook or a script of one's own: ``runs, curves = jacexp.results.load()``."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from jacexp.arguments import chosen
from jacexp.errors import ConfigError, StoreError, did_you_mean
from jacexp.report.beside import folders, make_good, read_results
from jacexp.report.schema import Store, read_store
from jacexp.store.folders import OWN, REFERENCE, is_reference
from jacexp.store.tables import CONFIG, CURVES, RUNS, STRENGTHS, Kind

BY = "dataset,model,method,strength"
"""What makes a group unless a command line says otherwise."""


class Results(NamedTuple):
    """Two tables, with the columns of ``runs.csv`` and ``curves.csv`` and those that `tidy` adds."""

    runs: pd.DataFrame
    """One row a run, whatever became of it."""
    curves: pd.DataFrame
    """One row a point of a curve."""


def load(folder: str | Path | None = None) -> Results:
    """Read the runs and curves of a folder of results; see `tidy` for the columns.

    Args:
        folder: which is read alone; by default the user's own, ``my_results``, beside the reference results.

    Returns:
        Runs and curves.

    Raises:
        StoreError: for a folder without a result, or a table that is damaged.
    """
    if folder is not None:
        return tidy(read_store(Path(folder)))
    store = read_results(OWN, REFERENCE if REFERENCE.is_dir() else None)
    if store.damage:
        raise StoreError(f"{store.damage}; load({str(REFERENCE)!r}) reads the reference alone")
    return tidy(store)


def tidy(store: Store) -> Results:
    """Type the columns of a store's tables and add what analyses group by.

    Counts are ``Int64`` and numbers ``float64``. Both get ``source``: ``yours``, or ``reference`` for what the project
    ships. Runs get ``strength`` (lam, beta or epsilon), ``val_accuracy``,
    ``val_error``, ``test_accuracy`` and ``test_error`` in percent, and a column for each switch and each argument of
    one's own, called as on the command line: ``method.n_iter``, ``model.width``, ``dataset.n``. Points of curves get
    ``accuracy`` and ``error`` in percent, each setting of their evaluation (``eval.delta``), and how their run was
    trained.

    Returns:
        Both tables; an empty cell is NaN or ``pandas.NA``.

    Raises:
        StoreError: for options or settings that are no JSON object.
    """
    runs = _typed(store.runs, RUNS)
    rates = {**_rates(runs, "val_", "_val"), **_rates(runs, "test_", "_test")}
    options = _unpacked(runs["options"], "method.", store.root / "runs.csv")
    runs = runs.assign(strength=_strength(runs), source=_source(store, runs), **rates).join(options)
    settings = _unpacked(store.curves["settings"], "eval.", store.root / "curves.csv")
    curves = _typed(store.curves, CURVES)
    curves = curves.assign(
        strength=_strength(curves), source=_source(store, curves), **_rates(curves, "", "")
    )
    curves = curves.join(settings)
    trained = ["run", *(c for c in (*CONFIG, *options) if c not in curves)]
    return Results(runs, curves.merge(runs[trained], on="run", how="left"))


class Chosen(NamedTuple):
    """What a command line asks for, as `scripts/summarize.py` and `scripts/report.py` read it."""

    folder: Path
    store: Store
    """All that is stored in the folder, and in the reference where it is read too."""
    results: Results
    """The runs that are chosen, and their curves."""
    title: str
    """How they were chosen; empty for all runs."""
    by: list[str]
    """The columns that make a group."""
    versus: str | None


CHOICE = ("by", "versus", "paths.results", "reference")
"""The words that are no columns."""


def choose(words: Mapping[str, str], further: Sequence[str] = ()) -> Chosen:
    """Read what is stored and keep what a command line chooses; what is wrong with the store goes to stderr.

    Args:
        words: values by key: columns of the runs, and those of `CHOICE`.
        further: the script's other settings, for the message.

    Returns:
        The choice.

    Raises:
        ConfigError: for a key that is neither a setting nor a column, or a folder that is none.
        StoreError: for tables that are damaged, or without a run that matches.
    """
    filters = {key: value for key, value in words.items() if key not in CHOICE}
    store, where = read_stored(words)
    found, by, settings = tidy(store), words.get("by", BY).split(","), (*CHOICE, *further)
    check_columns([*filters, *by], settings, found.runs)
    if len(set(by)) < len(by):
        raise ConfigError(f"by={','.join(by)} names a column twice; give it once")
    kept = matching(found, filters, settings, where)
    title = " ".join(f"{column}={value}" for column, value in filters.items())
    return Chosen(store.root, store, kept, title, by, words.get("versus"))


def read_stored(words: Mapping[str, str]) -> tuple[Store, str]:
    """Read the folders that a command line asks for; what is wrong with them goes to stderr.

    Args:
        words: values by key, ``paths.results`` and ``reference`` among them.

    Returns:
        All that is stored, and where, in words.

    Raises:
        ConfigError: for results that are no folder.
        StoreError: for tables that are damaged, or without a run.
    """
    folder, reference = folders(words)
    for error in make_good(folder, reference):
        print(f"warning: {error}", file=sys.stderr)
    store = read_results(folder, reference)
    if store.damage:
        print(f"warning: your results are left out: {store.damage}", file=sys.stderr)
    for note in store.notes:
        print(f"note: {note}", file=sys.stderr)
    if store.runs.empty:
        raise StoreError(f"{folder / 'runs.csv'} has no run; train one first: python train.py +method=spec")
    return store, str(folder / "runs.csv") if reference is None else "your results and the reference"


def matching(results: Results, given: Mapping[str, str], settings: Sequence[str], where: object) -> Results:
    """Keep the runs that a command line chooses, and their curves.

    Args:
        results: as `tidy` returns them.
        given: the words that are wanted, joined by commas, by column of the runs.
        settings: what else the command line may hold, for the message.
        where: the runs come from, for the message.

    Returns:
        Both tables, of these runs alone.

    Raises:
        ConfigError: for a column that is not there.
        StoreError: for a word that matches no run, or words that match none together.
    """
    check_columns(given, settings, results.runs)
    filters = {column: words.split(",") for column, words in given.items()}
    cells = results.runs.astype(object).where(results.runs.notna(), None)
    rows = [{str(c): v for c, v in row.items()} for row in cells.to_dict("records")]
    runs = results.runs[chosen(rows, filters, where)]
    return Results(runs, results.curves[results.curves["run"].isin(runs["run"])])


def check_columns(names: Iterable[str], settings: Sequence[str], runs: pd.DataFrame) -> None:
    """Refuse what is no column of the runs.

    Raises:
        ConfigError: with the nearest column or setting.
    """
    columns = list(runs.columns)
    for name in names:
        if name not in columns:
            near = did_you_mean(name, [*settings, *columns])
            raise ConfigError(
                f"{name!r} is no setting and no column of the runs{near}; there are {', '.join(columns)}"
            )


def _typed(table: pd.DataFrame, schema: Mapping[str, Kind]) -> pd.DataFrame:
    counts = [name for name, kind in schema.items() if kind == "count"]
    return table.astype(dict.fromkeys(counts, "Int64")).reset_index(drop=True)


def _source(store: Store, table: pd.DataFrame) -> pd.Series:
    if store.reference is None:
        return pd.Series("reference" if is_reference(store.root) else "yours", index=table.index)
    return table["run"].isin(store.yours).map({True: "yours", False: "reference"})


def _strength(table: pd.DataFrame) -> pd.Series:
    return table[list(STRENGTHS)].bfill(axis="columns").iloc[:, 0]


def _rates(table: pd.DataFrame, prefix: str, suffix: str) -> dict[str, pd.Series]:
    """Return 100 · n_correct / n and its complement, in percent; NaN where nothing was counted."""
    right, n = (table[name].astype(float) for name in (f"n{suffix}_correct", f"n{suffix}"))
    accuracy = 100 * right / n
    return {f"{prefix}accuracy": accuracy, f"{prefix}error": 100 - accuracy}


def _unpacked(texts: pd.Series, prefix: str, path: Path) -> pd.DataFrame:
    """Make a column of each key of JSON objects; a key without a dot gets the prefix, a list stays JSON."""
    rows = []
    for text in texts:
        try:
            pairs = json.loads(text or "{}").items()
        except (ValueError, AttributeError) as error:
            raise StoreError(f"{path}: {text!r} in the column {texts.name} is not a JSON object") from error
        rows.append({k if "." in k else f"{prefix}{k}": _cell(value) for k, value in pairs})
    columns = sorted({key for row in rows for key in row})
    return pd.DataFrame(rows, columns=columns, index=pd.RangeIndex(len(rows))).convert_dtypes()


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value

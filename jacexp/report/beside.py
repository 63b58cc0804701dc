"""A user's results beside those that the project ships: as one store, and row by row in every table."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from jacexp.errors import ConfigError, StoreError
from jacexp.report.markup import Document, Section
from jacexp.report.schema import POINT, Store, read_store, without_duplicates
from jacexp.store.folders import OWN, REFERENCE, is_reference, results_folder
from jacexp.store.merge import merge_runs


def read_results(own: Path, reference: Path | None = None, *, may_be_empty: bool = False) -> Store:
    """Read a folder of results, and the reference beside it where there is one.

    A run that is in both is the same run and counts once: as the user's, whose curves and distances go with it. The
    reference never depends on the user's tables: where they are damaged, they are left out, and `Store.damage` says so.

    Args:
        own: the user's folder, which may be missing where there is a reference.
        reference: the folder of the reference; None reads the user's alone.
        may_be_empty: do without a single row.

    Returns:
        The tables; `Store.yours` names the user's runs where there is a reference.

    Raises:
        StoreError: if no table has a row, or the reference, or a folder that is read alone, is damaged.
    """
    if reference is None:
        return read_store(own, may_be_empty=may_be_empty)
    try:
        yours = read_store(own, may_be_empty=True)
        for run in yours.runs["run"]:
            yours.distances(run)
    except StoreError as error:
        return replace(read_store(reference), root=own, reference=reference, damage=str(error))
    return join(yours, read_store(reference, may_be_empty=may_be_empty or bool(len(yours.runs))))


def join(yours: Store, reference: Store) -> Store:
    """Put the user's tables below those of the reference; what is in both, as in a copied folder, counts once."""
    again = set(yours.runs["run"]) & set(reference.runs["run"])
    notes = [f"run {run} is in both folders; yours counts, with your curves of it" for run in sorted(again)]
    kept = reference.runs[~reference.runs["run"].isin(again)]
    runs, alike = without_duplicates(_stacked(kept, yours.runs))
    mine = frozenset(yours.runs["run"])
    curves = _stacked(reference.curves[~reference.curves["run"].isin(mine)], yours.curves)
    return Store(
        root=yours.root,
        runs=runs,
        # Of points of the reference's runs, the user has copies at most.
        curves=curves.drop_duplicates(POINT, ignore_index=True),
        timing=_stacked(reference.timing, yours.timing).drop_duplicates(ignore_index=True),
        notes=(*reference.notes, *yours.notes, *notes, *alike),
        reference=reference.root,
        yours=mine,
    )


def _stacked(upper: pd.DataFrame, lower: pd.DataFrame) -> pd.DataFrame:
    # A table without rows has no types that count.
    tables = [table for table in (upper, lower) if len(table)]
    return pd.concat(tables, ignore_index=True) if tables else upper


def folders(given: Mapping[str, str]) -> tuple[Path, Path | None]:
    """Find out which folders a command line asks for.

    A folder that is named is read alone; the user's own by default is read beside the reference. ``reference=`` says
    otherwise.

    Args:
        given: the values of ``paths.results`` and ``reference``, where they are given.

    Returns:
        The folder of results, and the reference or None.

    Raises:
        ConfigError: for results that are no folder, or a ``reference`` that is neither true nor false.
    """
    results = results_folder(given.get("paths.results", OWN))
    wanted = given.get("reference", "false" if "paths.results" in given else "true")
    if wanted not in ("true", "false"):
        raise ConfigError(f"reference={wanted} is neither true nor false")
    if given.get("reference") == "true" and not REFERENCE.is_dir():
        raise ConfigError(
            "reference=true, but the reference results are in the project's checkout alone: leave it out"
        )
    is_alone = wanted == "false" or is_reference(results) or not REFERENCE.is_dir()
    return results, None if is_alone else REFERENCE


def make_good(own: Path, reference: Path | None) -> list[StoreError]:
    """Bring the ``runs.csv`` of a folder up to date with its runs, as `merge_runs` does; never that of the reference.

    Returns:
        What is wrong with results that cannot be read, and with the table, where the reference is read beside it.

    Raises:
        StoreError: for a table of a folder that is read alone, which cannot be read or written.
    """
    try:
        return merge_runs(own)
    except StoreError as error:
        if reference is None:
            raise
        return [error]


YOURS = " (yours)"
WITH_YOURS = " (with yours)"
HOW_TO_READ = (
    f"Rows of the reference are as they are without your runs. Below a row that your runs change stands what it "
    f"becomes with them, marked{WITH_YOURS}; what the reference has not is marked{YOURS}."
)

OF_THE_MACHINE = {"hours missing"}
"""Columns that do not make a row another one: every run tells something about how long others take."""


def marked(reference: Document, both: Document) -> Document:
    """Write a document of both folders so that it shows each row of the reference as it is without the user's runs.

    Args:
        reference: made of the reference alone.
        both: the same document, made of both.

    Returns:
        The sections of both. A row that the user's runs change stands below that of the reference, marked, and so does
        a row or a section that the reference has not. The reference's own document where nothing is marked.
    """
    known = {section.title: section for section in reference.sections}
    sections = tuple(part for s in both.sections for part in _marked(known.get(s.title), s))
    if sections == reference.sections:
        return reference
    return replace(both, intro=(*reference.intro, HOW_TO_READ), sections=sections)


def _marked(reference: Section | None, both: Section) -> list[Section]:
    if reference is None:
        return [replace(both, title=both.title + YOURS)]
    if reference.headings != both.headings:
        return [reference, replace(both, title=both.title + WITH_YOURS)]
    compared = [i for i, heading in enumerate(both.headings) if heading not in OF_THE_MACHINE]
    left: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for row in reference.rows:
        left[row[0]].append(row)
    rows: list[tuple[str, ...]] = []
    for row in both.rows:
        before = left[row[0]].pop(0) if left[row[0]] else None
        rows += [before] if before else []
        if before is None or any(row[i] != before[i] for i in compared):
            rows.append((row[0] + (WITH_YOURS if before else YOURS), *row[1:]))
    if rows == list(reference.rows):
        return [reference]
    return [replace(both, rows=tuple(rows))]

"""From a folder of results to tables, scorecard and figures in it: everything is made first, then written."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jacexp.errors import StoreError
from jacexp.report import markup, robustness, scorecard, tables
from jacexp.report.beside import marked, read_results
from jacexp.report.markup import Document
from jacexp.report.schema import Store, read_store
from jacexp.report.select import How, Selection
from jacexp.store.folders import is_reference
from jacexp.store.runs import write_atomically


class Written(NamedTuple):
    """What a script made."""

    files: list[Path]
    missing: list[tuple[str, str]]
    """What is not stored, and the command that makes it."""
    outcome: str = ""
    """The result in one line."""
    damage: str = ""
    """Why the user's results are left out, where they are."""


MARKS = ("<!-- outcome: written by make reproduce-tables -->", "<!-- end of outcome -->")
"""The lines of a README between which the outcome stands."""


def write_tables(results: Path, how: How, reference: Path | None = None) -> Written:
    """Write both papers' Table 1, the table of robustness and the scorecard, and of the reference the README's outcome.

    Beside the reference, what a user's runs change is marked: tables show rows of the reference as they are, and below
    them what they become with the user's; so does the scorecard, whose outcome is that of the reference.

    Args:
        results: the folder with ``runs.csv``, ``curves.csv`` and ``timing.csv``, which is written to.
        how: what hyper-parameters are selected on; ``paper`` has file names of its own.
        reference: the folder of results that is shown beside it, if any.

    Returns:
        The files that were written, what is missing, and the outcome.

    Raises:
        StoreError: if the store cannot be read, or the files cannot be written.
    """
    made = documents_of(read_results(results, reference), how)
    documents, scored, shipped = made.documents, made.scored, made.shipped
    mark = suffix(how)
    texts = {f"{name}{mark}.md": markup.markdown(text) for name, text in documents.items()}
    texts |= {
        f"{name}{mark}.tex": markup.latex(text) for name, text in documents.items() if name != "scorecard"
    }
    texts[f"scorecard{mark}.csv"] = scorecard.to_csv(shipped, scored)
    written = write_files(results, {name: text.encode() for name, text in texts.items()})
    if how == "holdout" and is_reference(results):
        written += _write_readme(results.resolve().parent, scorecard.readme(scored))
    return Written(written, made.missing, made.outcome, made.damage)


class Documents(NamedTuple):
    """Both papers' tables and the scorecard, as text."""

    documents: dict[str, Document]
    """By the name of the file, without its ending."""
    scored: list[scorecard.Score]
    shipped: list[scorecard.Score]
    """The scores without the user's runs, where the reference is shown beside them."""
    missing: list[tuple[str, str]]
    """What is not stored, and the command that makes it."""
    damage: str

    @property
    def outcome(self) -> str:
        """How many claims are decided, in a line, and in a second one where the user's runs change it."""
        first, second = scorecard.outcome(self.shipped), scorecard.outcome(self.scored)
        return first if first == second else f"{first}\nwith your runs: {second.removeprefix('scorecard: ')}"


def documents_of(store: Store, how: How) -> Documents:
    """Make the tables and the scorecard of a store; what a user's runs change beside the reference is marked."""
    selection = Selection(store, how)
    filled = [tables.table(selection, paper) for paper in ("P1", "P2")]
    documents, scored = _documents(selection, filled)
    shipped = scored
    if store.reference is not None:
        alone = Selection(read_store(store.reference, may_be_empty=True), how)
        before, shipped = _documents(alone, [tables.table(alone, paper) for paper in ("P1", "P2")])
        documents = {name: marked(before[name], made) for name, made in documents.items()}
    missing = [gap for table in filled for gap in table.missing]
    return Documents(documents, scored, shipped, missing, store.damage)


def _documents(
    selection: Selection, filled: Sequence[tables.Table]
) -> tuple[dict[str, Document], list[scorecard.Score]]:
    scored = scorecard.scores(selection)
    documents = {
        f"tables/{t.paper.lower()}-table1": tables.document(t, selection.how, selection.store.notes)
        for t in filled
    }
    documents["tables/robustness"] = robustness.document(selection)
    documents["scorecard"] = scorecard.document(scored, selection)
    return documents, scored


def _write_readme(folder: Path, outcome: str) -> list[Path]:
    path, (first, last) = folder / "README.md", MARKS
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    before, found, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not (found and end):
        return []
    return write_files(folder, {path.name: f"{before}{first}\n\n{outcome}\n\n{last}{after}".encode()})


def write_figures(results: Path, how: How, reference: Path | None = None) -> Written:
    """Draw every figure that has data, as PNG and PDF, and write their captions. See `write_tables`."""
    from jacexp.report import figures  # matplotlib takes a second to import, and tables do not need it

    store = read_results(results, reference)
    drawn = figures.draw_all(Selection(store, how))
    mark = suffix(how)
    contents: dict[str, bytes] = {}
    for figure in drawn.figures:
        contents |= figures.files(figure)
    contents["captions.md"] = figures.captions(drawn).encode()
    written = write_files(results, {f"figures{mark}/{name}": content for name, content in contents.items()})
    return Written(written, [(gap.what, gap.command) for gap in drawn.gaps], damage=store.damage)


def suffix(how: How) -> str:
    """Mark the names of files whose hyper-parameters were selected on the test set."""
    return "" if how == "holdout" else "-select-paper"


def write_files(folder: Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Write files below a folder, each whole or not at all.

    Returns:
        Their paths, in the order of the contents.

    Raises:
        StoreError: for a folder that cannot be written.
    """
    written = []
    try:
        for name, content in contents.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
            written.append(path)
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be written ({error}); choose another with paths.results=DIR"
        ) from error
    return written

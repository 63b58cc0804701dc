"""Summarise stored runs in groups: jacexp summarize dataset=mine by=method,lam [versus=none].

COLUMN=A,B        only runs with these values in a column: dataset, method, seed, lam, method.n_iter, model.width, ...
by=A,B            the columns whose values make a group; by default dataset,model,method,strength
versus=VALUE      compare each group with the one that has this value in a column of by=, in pairs by seed
out=FILE          write FILE.csv (numbers), FILE.tex or FILE.md instead of printing
paths.results=DIR a folder that is read alone; by default yours, my_results, and the reference results with it
reference=true    read the reference results beside that folder
source=yours      only your runs, or by source=reference only those of the project

Per group: runs, mean and standard deviation of the test accuracy, its 95 % interval, and the best by validation loss.
"""

from collections.abc import Sequence

import pandas as pd

from jacexp.arguments import explained, output_file, pairs
from jacexp.errors import StoreError
from jacexp.report.markup import Document, latex, markdown
from jacexp.report.summary import document, summary
from jacexp.results import choose
from jacexp.store.runs import write_atomically

FORMATS = (".csv", ".tex", ".md")
USAGE = "write COLUMN=VALUE, by=COLUMN,COLUMN, versus=VALUE or out=FILE; see --help"


def main(words: Sequence[str]) -> int:
    """Summarise the runs that match.

    Returns:
        The exit status, 0.
    """
    if explained(words, __doc__):
        return 0
    given = pairs(words, USAGE)
    out = output_file(given.pop("out"), FORMATS) if "out" in given else None
    asked = choose(given, ["out"])
    table, notes = summary(asked.results.runs, asked.by, asked.versus)
    made = document(asked.title or "all runs", table, notes, asked.by, asked.versus)
    if out is None:
        print(shown(made))
        return 0
    text = {
        ".csv": lambda: table.to_csv(index=False),
        ".tex": lambda: latex(made),
        ".md": lambda: markdown(made),
    }
    try:
        write_atomically(out, text[out.suffix]())
    except OSError as error:
        raise StoreError(f"out={out} cannot be written ({error})") from error
    print(f"wrote {out}")
    return 0


def shown(made: Document) -> str:
    """Write a document for a terminal."""
    (section,) = made.sections
    table = pd.DataFrame(list(section.rows), columns=list(section.headings)).to_string(index=False)
    return "\n".join([table, "", *made.intro, *(f"note: {note}" for note in section.notes)])

"""Write one HTML file with what is stored: jacexp report [dataset=mine] [by=method,lam] [versus=none].

COLUMN=A,B        only runs with these values in a column: dataset, method, seed, lam, method.n_iter, model.width, ...
by=A,B            the columns whose values make a group of the summary; by default dataset,model,method,strength
versus=VALUE      compare each group with the one that has this value in a column of by=, in pairs by seed
out=FILE.html     by default report.html in your folder of results
paths.results=DIR a folder that is read alone; by default yours, my_results, and the reference results with it
reference=true    read the reference results beside that folder
source=yours      only your runs, or by source=reference only those of the project

The file opens in any browser without a network: verdicts of the scorecard and the papers' tables (where no COLUMN
chooses runs), tables that sort and filter, figures with the values under the pointer, and every run.
"""

import sys
from collections.abc import Sequence

from jacexp.arguments import explained, output_file, pairs
from jacexp.report.page.content import page_of
from jacexp.report.page.render import render
from jacexp.report.write import write_files
from jacexp.results import choose

USAGE = "write COLUMN=VALUE, by=COLUMN,COLUMN, versus=VALUE or out=FILE.html; see --help"


def main(words: Sequence[str]) -> int:
    """Write the report of the runs that match.

    Returns:
        The exit status: 0, or 1 if the user's results are damaged and were left out.
    """
    if explained(words, __doc__):
        return 0
    given = pairs(words, USAGE)
    out = output_file(given.pop("out"), (".html",)) if "out" in given else None
    asked = choose(given, ["out"])
    page = page_of(asked.store, *asked.results, title=asked.title, by=asked.by, versus=asked.versus)
    path = out or asked.folder / "report.html"
    write_files(path.parent, {path.name: render(page).encode()})
    for note in page.damaged:
        print(f"warning: {note}", file=sys.stderr)
    print(f"wrote {path}")
    return int(bool(asked.store.damage))

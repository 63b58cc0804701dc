"""Draw what is stored: the papers' figures, or by any of the words below the curves and grids of your own runs.

jacexp figures                                       # every figure of the papers that has data
jacexp figures dataset=mine methods=spec,loss_ibp    # curves, grids and training of these

COLUMN=A,B        only runs with these values in a column: dataset, method, seed, lam, model.width, source, ...
methods=A,B       the methods, in the order of the legend
by=A,B            a line for each value of these columns, such as lam; else one for each method, of its best setting
eval=A,B          only these evaluations
grid=A[,B]        the columns of the grid's axes; else whatever was swept
metric=val_loss   of the grid; or val_error, test_error
out=DIR           where the figures go; else figures/ of your results
paths.results=DIR a folder that is read alone; by default yours, my_results, and the reference results with it
reference=true    read the reference results beside that folder
select=paper      of the papers' figures: what was selected on the test set

The best setting is that with the lowest mean validation loss, of those with the most seeds and no lost run.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from jacexp.arguments import explained, pairs
from jacexp.errors import ConfigError, StoreError, did_you_mean
from jacexp.report.arguments import KEYS, run
from jacexp.report.beside import folders
from jacexp.report.write import write_figures, write_files
from jacexp.results import check_columns, matching, read_stored, tidy

SETTINGS = ("methods", "by", "eval", "grid", "metric", "out", "paths.results", "reference")
USAGE = "write COLUMN=VALUE, methods=A,B, by=COLUMN, eval=NAME, grid=COLUMN,COLUMN, metric=NAME or out=DIR; see --help"


def main(words: Sequence[str]) -> int:
    """Draw the papers' figures, or those of the runs that match.

    Returns:
        The exit status: 0, or 1 if the user's results are damaged and were left out.
    """
    if explained(words, __doc__):
        return 0
    keys = [word.split("=")[0] for word in words]
    if "--results" in keys or all(key in KEYS for key in keys):
        return run(write_figures, words)
    return draw_studies(pairs(words, USAGE))


def draw_studies(given: dict[str, str]) -> int:
    """Draw the figures of the runs that match, and say what is not drawn.

    Returns:
        The exit status, as `main` has it.
    """
    from jacexp.report.study import draw, grid, lines  # matplotlib takes a second to import

    settings = {key: given.pop(key) for key in SETTINGS if key in given}
    own, _ = folders(settings)
    methods, by, evaluations, axes = (_list(settings, key) for key in ("methods", "by", "eval", "grid"))
    axes = [grid.column_of(key) for key in axes]
    metric = settings.get("metric", "val_loss")
    check_names("metric", [metric], grid.METRICS)
    if len(axes) > 2:
        raise ConfigError(
            f"grid={settings['grid']} has {len(axes)} keys, and a figure two axes; name one or two"
        )
    out = out_folder(settings, own)
    if methods:
        if "method" in given:
            raise ConfigError("method= and methods= are given, which say the same; leave one of them out")
        given["method"] = ",".join(methods)
    store, where = read_stored(settings)
    found = tidy(store)
    check_columns([*given, *by, *axes], SETTINGS, found.runs)
    runs, points = matching(found, given, SETTINGS, where)
    stored = sorted({*found.curves["eval"]} - {"accuracy", *draw.EVALUATIONS})
    check_names("eval", evaluations, [*draw.EVALUATIONS, *stored])
    measured = set(points["eval"])
    if lacking := [name for name in evaluations if name not in measured]:
        raise StoreError(
            f"eval={lacking[0]} was measured on none of these runs: python scripts/evaluate.py eval={lacking[0]}"
        )
    contents: dict[str, bytes] = {}
    said: list[str] = []
    for study in lines.studies(runs, by, methods):
        made, notes = draw.draw(study, points, store, evaluations=evaluations, metric=metric, keys=axes)
        contents |= draw.contents(study, made) if made else {}
        said += notes
    for path in write_files(out, contents):
        print(f"wrote {path}")
    said += [] if contents else ["nothing is drawn"]
    print("".join(f"{text}\n" for text in said), end="")
    return int(bool(store.damage))


def _list(settings: dict[str, str], key: str) -> list[str]:
    words = settings[key].split(",") if key in settings else []
    if "" in words or len(set(words)) < len(words):
        raise ConfigError(f"{key}={settings[key]} has an empty name, or one twice; give each once")
    return words


def check_names(key: str, names: Sequence[str], known: Collection[str]) -> None:
    """Refuse names that are not there.

    Raises:
        ConfigError: with the nearest one.
    """
    for name in names:
        if name not in known:
            raise ConfigError(
                f"{key}={name} is unknown{did_you_mean(name, known)}; there are {', '.join(known)}"
            )


def out_folder(settings: dict[str, str], own: Path) -> Path:
    """Return where the figures go.

    Raises:
        ConfigError: for a place that is no folder.
    """
    out = Path(settings["out"]) if "out" in settings else own / "figures"
    if out.exists() and not out.is_dir():
        raise ConfigError(f"out={out} is no folder")
    return out

"""Evaluate stored runs: jacexp evaluate eval=white_noise [dataset=fmnist] [method=spec,none] [seed=0,1].

eval=NAME         white_noise, pgd, tpgd, square, autoattack, autoattack_quick, adversarial, gaussian, boundary,
                  jacobian or accuracy
COLUMN=A,B        only runs with these values in a column of runs.csv: dataset, method, seed, lam, ...
eval.KEY=VALUE    a setting of the evaluation, as in conf/eval/NAME.yaml
eval._target_=package.function and --config-dir=DIR with DIR/eval/NAME.yaml: an evaluation of your own
paths.results=DIR, paths.data=DIR, device=auto|cpu|gpu

What curves.csv of your results (my_results) has already is not measured again. The networks of the reference results
are not stored: train those first that you want to evaluate further.
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from tqdm import tqdm
from yaml import YAMLError

from jacexp.arguments import Parser, explained, pairs
from jacexp.errors import ConfigError, JacexpError, StoreError, did_you_mean
from jacexp.evaluate.own import register_evaluation
from jacexp.evaluate.registry import find
from jacexp.evaluate.samples import Progress
from jacexp.evaluate.stored import StoredRun, check_store, curves_by_run, evaluate_run, matching, n_shipped
from jacexp.store.folders import CONF, OWN, REFERENCE, results_folder
from jacexp.store.merge import merge_runs
from jacexp.store.tables import RUNS

EVALS = CONF / "eval"
SETTINGS = ("paths.results", "paths.data", "device")
DEVICES = ("auto", "cpu", "gpu")
USAGE = "write eval=NAME and other words as key=value; see --help"

EVERY_S = 30
"""Seconds between two lines about one run where no bar can be drawn."""

N_SHOWN = 6
"""Points of a curve in the table at the end."""


def configure(words: Sequence[str]) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Split a command line into settings and filters, with the evaluation's defaults from conf/eval.

    Returns:
        The settings (``eval``, its name; ``settings``, its keywords; ``paths``; ``device``), and the filters.

    Raises:
        ConfigError: for a word that is no ``key=value`` or that nobody reads, or an evaluation that is not there.
    """
    folder, words = config_dir(words)
    words_by_key = pairs(words, USAGE)
    if "eval" not in words_by_key:
        raise ConfigError(f"eval= is missing; {USAGE}")
    name = words_by_key.pop("eval")
    own = folder / "eval" / f"{name}.yaml" if folder else EVALS / f"{name}.yaml"
    path = own if own.is_file() else EVALS / f"{name}.yaml"
    if not path.is_file() and "eval._target_" not in words_by_key:
        find(name)
    ours = {key: v for key, v in words_by_key.items() if key.startswith("eval.") or key in SETTINGS}
    for key, value in words_by_key.items():
        if key not in ours and key.split(".")[0] in ("eval", "paths", "device"):
            near = did_you_mean(key, SETTINGS)
            raise ConfigError(f"{key}={value} is unknown{near}; there are eval.KEY, {', '.join(SETTINGS)}")
        if key not in ours and key not in RUNS:
            near = did_you_mean(key, ["eval", *SETTINGS, *RUNS])
            raise ConfigError(
                f"{key} is no setting and no column of runs.csv to choose runs by{near}; see --help"
            )
    try:
        given = OmegaConf.from_dotlist([f"{key}={value}" for key, value in ours.items()])
        defaults = {
            "eval": OmegaConf.load(path) if path.is_file() else {},
            "paths": {"results": str(OWN), "data": None},
            "device": "auto",
        }
        cfg = OmegaConf.to_container(OmegaConf.merge(defaults, given))
    except (OmegaConfBaseException, YAMLError) as error:
        raise ConfigError(f"a setting cannot be read: {str(error).splitlines()[0]}") from error
    assert isinstance(cfg, dict)
    if target := cfg["eval"].pop("_target_", None):
        register_evaluation(name, str(target))
    find(name)
    filters = {key: value.split(",") for key, value in words_by_key.items() if key not in ours}
    return {**cfg, "settings": cfg.pop("eval"), "eval": name}, filters


def config_dir(words: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Remove ``--config-dir`` from a command line, a folder whose ``eval/NAME.yaml`` are evaluations too.

    Returns:
        The folder, None if there is none, and the other words.

    Raises:
        ConfigError: if it is no folder.
    """
    parser = Parser(allow_abbrev=False, add_help=False)
    parser.add_argument("--config-dir", metavar="DIR")
    given, rest = parser.parse_known_args(list(words))
    if given.config_dir is None:
        return None, rest
    folder = Path(given.config_dir)
    if not folder.is_dir():
        raise ConfigError(f"--config-dir={folder} is no folder")
    return folder, rest


def device_of(word: str) -> str:
    """Return PyTorch's name for auto, cpu or gpu.

    Raises:
        ConfigError: for another word, or a GPU where there is none.
    """
    if word not in DEVICES:
        raise ConfigError(f"device={word} is not one of {', '.join(DEVICES)}")
    if word == "gpu" and not torch.cuda.is_available():
        raise ConfigError("device=gpu, but PyTorch sees no GPU here; leave it at auto")
    return "cuda" if word != "cpu" and torch.cuda.is_available() else "cpu"


@contextmanager
def shown(label: str) -> Iterator[Progress]:
    """Show how far a run is: a bar on a terminal, a line now and then elsewhere."""
    if sys.stderr.isatty():
        with tqdm(desc=label, unit="image", leave=False) as bar:

            def draw(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            yield draw
        return
    last = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > EVERY_S:
            last = time.monotonic()
            print(f"{label}: {done:,} of {total:,} images", file=sys.stderr, flush=True)

    yield tell


def main(words: Sequence[str]) -> int:
    """Evaluate every run that matches; one that cannot be evaluated is named, and the others go on.

    Returns:
        The exit status: 0, or 1 if a run could not be evaluated.
    """
    if explained(words, __doc__):
        return 0
    cfg, filters = configure(words)
    name, settings, paths, device = cfg["eval"], cfg["settings"], cfg["paths"], device_of(str(cfg["device"]))
    results, root = results_folder(str(paths["results"])), Path(str(paths["data"])) if paths["data"] else None
    # What is wrong for every run is said once, before the first.
    find(name).settings("", settings)
    if root is not None and not root.is_dir():
        raise ConfigError(f"paths.data={root} is no folder")
    runs, failed = wanted_runs(results, filters), 0
    check_store(results)
    for error in merge_runs(results):
        print(f"warning: {error}", file=sys.stderr)
    for number, run in enumerate(runs, start=1):
        label = f"{number}/{len(runs)} {run}"
        try:
            with shown(label) as progress:
                n = evaluate_run(results, run, name, settings, root=root, device=device, progress=progress)
            print(f"{label}: {f'{n} points' if n else 'stored already'}", file=sys.stderr, flush=True)
        except ConfigError:
            raise
        except JacexpError as error:
            failed += 1
            print(f"error: {run}: {error}", file=sys.stderr, flush=True)
    curves = curves_by_run(results, runs, name, settings)
    if len(curves.columns):
        print(table(curves))
    print(f"{len(runs) - failed} of {len(runs)} runs are evaluated; see {results / 'curves.csv'}")
    return int(failed > 0)


def wanted_runs(results: Path, filters: Mapping[str, Sequence[str]]) -> list[StoredRun]:
    """Find the runs that match, and say so where only the reference, which has no networks, has such runs.

    Raises:
        StoreError: if no run matches.
    """
    try:
        return matching(results, filters)
    except StoreError as error:
        n = n_shipped(filters) if results == OWN else 0
        if not n:
            raise
        raise StoreError(
            f"{error}. {n} such runs are in the reference results, whose networks are not stored: train those first "
            f"that you need, by the command in their row of {REFERENCE / 'runs.csv'}"
        ) from error


def table(curves: pd.DataFrame) -> str:
    """Write some of the points of each run, from the first to the last."""
    last = len(curves.columns) - 1
    shown = sorted({round(last * i / (N_SHOWN - 1)) for i in range(N_SHOWN)})
    return curves.iloc[:, shown].to_string()

"""Evaluate stored runs: python scripts/evaluate.py eval=white_noise [dataset=fmnist] [method=spec,none] [seed=0,1].

eval=NAME         white_noise, pgd, tpgd, square, autoattack, adversarial, gaussian, boundary, jacobian or accuracy
COLUMN=A,B        only runs with these values in a column of runs.csv: dataset, method, seed, lam, ...
eval.KEY=VALUE    a setting of the evaluation, as in conf/eval/NAME.yaml
paths.results=DIR, paths.data=DIR, device=auto|cpu|gpu

What results/curves.csv has already is not measured again.
"""

import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from tqdm import tqdm
from yaml import YAMLError

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout, whatever else is installed

from jacexp.errors import ConfigError, JacexpError
from jacexp.evaluate import find
from jacexp.evaluate.stored import evaluate_run, matching, stored_points

EVALS = Path(__file__).parents[1] / "conf" / "eval"
SETTINGS = ("paths.results", "paths.data", "device")
DEVICES = ("auto", "cpu", "gpu")


def configure(words: Sequence[str]) -> tuple[dict[str, object], dict[str, list[str]]]:
    """Split a command line into settings and filters, with the evaluation's defaults from conf/eval.

    Returns:
        The settings (``eval``, its name; ``settings``, its keywords; ``paths``; ``device``), and the filters.

    Raises:
        ConfigError: for a word that is no ``key=value``, or an evaluation that is not there.
    """
    pairs = dict(word.partition("=")[::2] for word in words)
    if any("=" not in word for word in words) or "eval" not in pairs:
        raise ConfigError(f"write key=value, and eval=NAME among them:\n\n{__doc__}")
    name = pairs.pop("eval")
    find(name)
    ours = {key: value for key, value in pairs.items() if key.startswith("eval.") or key in SETTINGS}
    for key, value in pairs.items():
        if key not in ours and key.split(".")[0] in ("eval", "paths", "device"):
            raise ConfigError(f"{key}={value} is unknown; there are eval.KEY, {', '.join(SETTINGS)}")
        if key in SETTINGS and not value:
            raise ConfigError(f"{key}= is empty; give it a value, or leave it out")
    try:
        given = OmegaConf.from_dotlist([f"{key}={value}" for key, value in ours.items()])
        defaults = {
            "eval": OmegaConf.load(EVALS / f"{name}.yaml"),
            "paths": {"results": "results", "data": None},
            "device": "auto",
        }
        cfg = OmegaConf.to_container(OmegaConf.merge(defaults, given))
    except (OmegaConfBaseException, YAMLError) as error:
        raise ConfigError(f"a setting cannot be read: {str(error).splitlines()[0]}") from error
    assert isinstance(cfg, dict)
    filters = {key: value.split(",") for key, value in pairs.items() if key not in ours}
    return {**cfg, "settings": cfg.pop("eval"), "eval": name}, filters


def device_of(word: str) -> str:
    """Give PyTorch's name for auto, cpu or gpu.

    Raises:
        ConfigError: for another word, or a GPU where there is none.
    """
    if word not in DEVICES:
        raise ConfigError(f"device={word} is not one of {', '.join(DEVICES)}")
    if word == "gpu" and not torch.cuda.is_available():
        raise ConfigError("device=gpu, but PyTorch sees no GPU here; leave it at auto")
    return "cuda" if word != "cpu" and torch.cuda.is_available() else "cpu"


def main(words: Sequence[str]) -> int:
    """Evaluate every run that matches; one that cannot be evaluated is named, and the others go on.

    Returns:
        The exit status: 0, or 1 if a run could not be evaluated.
    """
    cfg, filters = configure(words)
    paths, device = cfg["paths"], device_of(str(cfg["device"]))
    results, root = Path(str(paths["results"])), Path(str(paths["data"])) if paths["data"] else None
    # What is wrong for every run is said once, before the first.
    find(cfg["eval"]).settings("", cfg["settings"])
    deque(stored_points(results / "curves.csv", ""), maxlen=0)
    runs, status = matching(results, filters), 0
    for number, run in enumerate(runs, start=1):
        with tqdm(desc=f"{number}/{len(runs)} {run}", unit="image", leave=True) as bar:

            def tell(done: int, total: int, bar: tqdm = bar) -> None:
                bar.total = total
                bar.update(done - bar.n)

            try:
                n = evaluate_run(
                    results, run, cfg["eval"], cfg["settings"], root=root, device=device, progress=tell
                )
                bar.set_postfix_str(f"{n} points" if n else "stored already")
            except ConfigError:
                raise
            except JacexpError as error:
                status = 1
                tqdm.write(f"error: {run}: {error}", file=sys.stderr)
    print(f"{len(runs)} runs; see {results / 'curves.csv'}")
    return status


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        sys.exit(print(__doc__))
    try:
        sys.exit(main(sys.argv[1:]))
    except JacexpError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("stopped; what was measured is stored, so start again to go on", file=sys.stderr)
        sys.exit(130)

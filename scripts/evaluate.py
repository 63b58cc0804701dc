"""Evaluate stored runs: python scripts/evaluate.py eval=white_noise [dataset=fmnist] [method=spec,none] [seed=0,1].

eval=NAME         white_noise, pgd, tpgd, square, autoattack, adversarial, gaussian, boundary, jacobian or accuracy
COLUMN=A,B        only runs with these values in a column of runs.csv: dataset, method, seed, lam, ...
eval.KEY=VALUE    a setting of the evaluation, as in conf/eval/NAME.yaml
paths.results=DIR, paths.data=DIR, device=auto|cpu|gpu

What results/curves.csv has already is not measured again.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from tqdm import tqdm

from jacexp.errors import ConfigError, JacexpError
from jacexp.evaluate.stored import evaluate_run, matching

ROOT = Path(__file__).parents[1]
SETTINGS = ("eval", "paths", "device")


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
    path = ROOT / "conf" / "eval" / f"{name}.yaml"
    if not path.exists():
        names = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise ConfigError(f"eval={name} is unknown; choose one of {names}")
    ours = {key: value for key, value in pairs.items() if key.split(".")[0] in SETTINGS}
    try:
        given = OmegaConf.from_dotlist([f"{key}={value}" for key, value in ours.items()])
        defaults = {
            "eval": OmegaConf.load(path),
            "paths": {"results": "results", "data": None},
            "device": "auto",
        }
        cfg = OmegaConf.to_container(OmegaConf.merge(defaults, given))
    except OmegaConfBaseException as error:
        raise ConfigError(str(error)) from error
    assert isinstance(cfg, dict)
    filters = {key: value.split(",") for key, value in pairs.items() if key not in ours}
    return {**cfg, "settings": cfg.pop("eval"), "eval": name}, filters


def main(words: Sequence[str]) -> int:
    """Evaluate every run that matches; one that cannot be evaluated is named, and the others go on.

    Returns:
        The exit status: 0, or 1 if a run could not be evaluated.
    """
    cfg, filters = configure(words)
    paths = cfg["paths"]
    results, root = Path(paths["results"]), Path(paths["data"]) if paths["data"] else None
    device = {"cpu": "cpu", "gpu": "cuda"}.get(cfg["device"], "cuda" if torch.cuda.is_available() else "cpu")
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

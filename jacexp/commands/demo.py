"""Train spec against none on the embedded digits, print a table and draw the noise curve: jacexp demo."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from hydra import compose, initialize_config_dir

from jacexp.arguments import explained
from jacexp.data.spec import Split
from jacexp.errors import ConfigError
from jacexp.evaluate.noise import white_noise
from jacexp.evaluate.samples import check_samples
from jacexp.report.style import LOOKS, column_style, draw_band, figure, handle
from jacexp.store.checkpoint import load_network
from jacexp.store.folders import CONF, OWN
from jacexp.store.runs import RunDirectory
from jacexp.train.config import register
from jacexp.train.job import identify
from jacexp.train.run import run

METHODS = ("none", "spec")
SEEDS = (0, 1, 2)
SIGMAS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
SETTINGS = ("dataset=digits", "train.epochs=15", "train.batch_size=16", "method.lam=0.03")


def main(words: Sequence[str]) -> int:
    """Train what is not trained yet, evaluate it, and show the result."""
    if explained(words, __doc__):
        return 0
    if words:
        raise ConfigError(f"the demo takes no arguments, but was given {words[0]!r}; jacexp train takes many")
    results = OWN / "demo"
    register()
    curves = pd.concat([curve(method, seed, results) for method in METHODS for seed in SEEDS])
    curves["accuracy"] = curves["n_correct"] / curves["n"]
    print(
        f"\nTest accuracy on digits under white noise, % (mean ± deviation of {len(SEEDS)} seeds, n = 360):"
    )
    print(table(curves).to_string())
    path = results / "white_noise.png"
    draw(curves, path)
    print(f"\nThe curve is drawn in {path}.")
    return 0


def curve(method: str, seed: int, results: Path) -> pd.DataFrame:
    """Train one network, if it is not yet, and count its correct answers at every noise level."""
    settings = [s for s in SETTINGS if method != "none" or not s.startswith("method.")]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", [f"+method={method}", *settings, f"seed={seed}", f"paths.results={results}"])
    print(f"\n{method}, seed {seed}")
    done = run(cfg)
    data: Split = identify(cfg).data
    net = load_network(RunDirectory(results / "runs" / done["row"]["run"]))
    return white_noise(check_samples(net, data.x_test, data.y_test), sigmas=SIGMAS).assign(
        method=method, seed=seed
    )


def table(curves: pd.DataFrame) -> pd.DataFrame:
    """Arrange the accuracies, percent: one row a method, one column a noise level."""
    grouped = curves.groupby(["method", "value"])["accuracy"]
    cells = (100 * grouped.mean()).map("{:.1f}".format) + " ± " + (100 * grouped.std()).map("{:.1f}".format)
    wide = cells.unstack("value").rename_axis(index=None, columns="noise σ")
    return wide.rename(columns={0.0: "0 (clean)"})


def draw(curves: pd.DataFrame, path: Path) -> None:
    """Draw accuracy against noise, with a band of one deviation over the seeds."""
    with column_style():
        fig = figure(2.2)
        axes = fig.subplots()
        for method in METHODS:
            grouped = curves[curves["method"] == method].groupby("value")["accuracy"]
            band = pd.DataFrame(
                {"mean": 100 * grouped.mean(), "deviation": 100 * grouped.std(), "flagged": False}
            )
            draw_band(axes, LOOKS[method], band)
        axes.set(xlabel="standard deviation σ of the noise (pixels in [0, 1])", ylabel="test accuracy (%)")
        names = {"none": "none", "spec": "spec, λ = 0.03"}
        handles = [handle(LOOKS[method]) for method in names]
        fig.legend(handles, names.values(), loc="outside upper center", ncols=len(names))
        fig.savefig(path)

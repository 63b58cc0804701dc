"""How long training takes, by the stored ``train_s`` of runs like it."""

from collections.abc import Iterable

import pandas as pd

from jacexp.report.grid import missing_runs
from jacexp.report.paper import N_TRAIN, Experiment
from jacexp.report.select import Selection

Cell = tuple[Experiment, str]
"""An experiment and a method."""

LIKE = ["model", "method", "dataset"]


class Costs:
    """Seconds of training an image and epoch: the median over the stored runs of a network, method and data set."""

    def __init__(self, selection: Selection) -> None:
        """Read them off the runs that are done."""
        self._selection = selection
        runs = selection.runs[(selection.runs["status"] == "done") & selection.runs["train_s"].notna()]
        images = runs["subset"].fillna(runs["dataset"].map(N_TRAIN))
        rates = pd.Series(runs["train_s"] / (images * runs["n_epochs"]), dtype=float)
        self._rates = rates.groupby([runs[c] for c in LIKE]).median().dropna()

    def seconds(self, experiment: Experiment, method: str) -> float | None:
        """Return the seconds that a run takes, None where no run like it is stored."""
        e = experiment
        images, rate = e.subset or N_TRAIN.get(e.dataset), self._rates.get((e.model, method, e.dataset))
        return float(rate * images * e.n_epochs) if rate is not None and images else None

    def missing(self, cells: Iterable[Cell]) -> float | None:
        """Return the hours of training that the grids of some cells lack, None where that is unknown."""
        hours = 0.0
        for e, method in dict.fromkeys(cells):
            n = missing_runs(self._selection.choice(e, method))
            seconds = self.seconds(e, method)
            if n and seconds is None:
                return None
            hours += n * (seconds or 0.0) / 3600
        return hours

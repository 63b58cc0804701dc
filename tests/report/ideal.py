"""A store in which every claim of both papers holds, small and noisy."""

import math
from collections.abc import Iterator

import numpy as np

from jacexp.report.paper import (
    EXPERIMENTS,
    METHODS,
    SIZES,
    TABLE1,
    Experiment,
    grid,
    size_experiment,
    strength_of,
)
from tests.report.synthetic import Row, Tables

MNIST, CIFAR_10K = EXPERIMENTS["P1"]
CIFAR, KMNIST, FMNIST = EXPERIMENTS["P2"]
STEPS = (0.25, 0.5, 0.75, 1.0)

ADVERSARIAL = {"none": 0.5, "pred_ibp": 0.55, "loss_ibp": 0.55, "at": 0.2, "tbp": 0.9}
GAUSSIAN = {
    "mnist": {"none": 0.2, "pred_ibp": 0.3, "loss_ibp": 0.3, "at": 0.3, "tbp": 0.6},
    "cifar10": {"none": 0.3, "pred_ibp": 0.28, "loss_ibp": 0.28, "at": 0.29, "tbp": 0.6},
}
ATTACKED = {
    "kmnist": {"spec": 0.3, "frob": 0.4, "spec_bound": 0.5, "l2": 0.6, "none": 0.7},
    "fmnist": {"spec": 0.4, "frob": 0.3, "spec_bound": 0.5, "l2": 0.6, "none": 0.7},
}
SQUARE = {
    "kmnist": {**ATTACKED["kmnist"], "spec": 0.4, "frob": 0.3},
    "fmnist": {**ATTACKED["fmnist"], "spec": 0.3, "frob": 0.4},
}
"""Under Square another method is best, so that none dominates."""
DISTANCE = {
    "kmnist": {"spec": 1.5, "frob": 1.5, "spec_bound": 1.5, "l2": 1.5, "none": 1.0},
    "fmnist": {"spec": 2.0, "frob": 1.9, "spec_bound": 1.2, "l2": 1.1, "none": 1.0},
}


class Ideal:
    """Fills tables with what the papers report and a little noise."""

    def __init__(self) -> None:
        self.tables = Tables()
        self.rng = np.random.default_rng(0)

    def near(self, value: float, relative: float = 0.01) -> float:
        return float(value * (1 + relative * self.rng.normal()))

    def build(self) -> Tables:
        for e in EXPERIMENTS["P1"]:
            self.p1(e)
        for e in EXPERIMENTS["P2"]:
            self.p2(e)
        self.sizes()
        self.times()
        return self.tables

    def trained(self, e: Experiment, method: str) -> Iterator[Row]:
        """Yield a run a seed with the paper's accuracy at the paper's strength."""
        cell = TABLE1[e.paper][e.dataset][method]
        accuracy = cell.value if e.paper == "P2" else 100 - cell.value
        column = strength_of(method)
        strength = {column: cell.strength or 0.01} if column else {}
        protocol = {"protocol": "spectral_vgg"} if e.model == "vgg16_bn" else {}
        for seed in range(e.n_seeds or 0):
            share = (accuracy + 0.1 * cell.deviation * self.rng.normal()) / 100
            yield self.tables.run(e, method, seed, val=share, test=share, **strength, **protocol)

    def p1(self, e: Experiment) -> None:
        for method in METHODS["P1"]:
            for run in self.trained(e, method):
                if method in ADVERSARIAL:
                    self.fall(run, "adversarial", ADVERSARIAL[method], noise=0.002)
                    self.fall(run, "gaussian", GAUSSIAN[e.dataset][method], noise=0.002)
        for method, best in (("at", 0.05), ("fast_at", 0.03)) if e == MNIST else ():
            for epsilon in grid(e, method)["epsilon"]:
                for seed in range(10) if epsilon != best else ():
                    worse = 0.01 * abs(math.log(epsilon / best))
                    share = self.near(0.9911 - worse, 0.0002)
                    self.tables.run(e, method, seed, val=share, test=share, epsilon=epsilon)

    def fall(self, run: Row, evaluation: str, slope: float, noise: float) -> None:
        """Add a curve that falls from the run's accuracy by a share ``slope`` of it."""
        clean = run["n_test_correct"] / run["n_test"]
        points = {0.0: clean} | {x: clean * (1 - slope * x) + noise * self.rng.normal() for x in STEPS}
        self.tables.curve(run, evaluation, points)

    def p2(self, e: Experiment) -> None:
        for method in METHODS["P2"]:
            for run in self.trained(e, method):
                if e == CIFAR:
                    continue
                self.fall(run, "white_noise", 0.5, noise=0.002)
                for attack, slopes in (("pgd", ATTACKED), ("tpgd", ATTACKED), ("square", SQUARE)):
                    self.fall(run, attack, slopes[e.dataset][method], noise=0.002)
                for n_iter in (1, 5):
                    error = self.near(0.3 if n_iter == 1 else 0.03)
                    self.tables.point(
                        run,
                        "jacobian",
                        variable="n_iter",
                        value=n_iter,
                        mean=error,
                        statistic="relative_error",
                    )
                self.tables.point(run, "jacobian", mean=self.near(10), statistic="bound_reshaped_error")
                mean = self.near(DISTANCE[e.dataset][method])
                self.tables.distance(run, {i: self.near(mean, 0.1) for i in range(20)})

    def sizes(self) -> None:
        for augmented in (False, True):
            for size in SIZES:
                gain = 0.43 - 0.14 * math.log10(size / 1000)
                errors = {"none": 0.06, "pred_ibp": 0.06 * (1 - gain * (0.5 if augmented else 1))}
                e = size_experiment(size, augmented=augmented)
                others = {"augment": "affine" if augmented else "none"}
                for method, error in errors.items():
                    strength = {"beta": 3.0} if method == "pred_ibp" else {}
                    for seed in range(5):
                        share = 1 - self.near(error)
                        self.tables.run(e, method, seed, val=share, test=share, **strength, **others)

    def times(self) -> None:
        for _ in range(4):
            for e in EXPERIMENTS["P1"]:
                cells = TABLE1["P1"][e.dataset]
                for method in METHODS["P1"]:
                    ratio = float(cells[method].seconds or 0) / float(cells["none"].seconds or 1)
                    self.tables.time(e.model, method, self.near(ratio))
        for size in (16, 32, 64, 128):
            for method, ratio in (("none", 1.0), ("spec", 2.0), ("spec_bound", 1.3), ("analytical", 200.0)):
                self.tables.time("lenet", method, self.near(ratio), batch_size=size)

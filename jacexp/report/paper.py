"""What the two papers print and what they ran for it: data, each number with the place it comes from.

P1 is S. Demyanov, J. Bailey, R. Kotagiri, C. Leckie, "Invariant Backpropagation: How to Train a
Transformation-Invariant Neural Network". P2 is A. Johansson, N. Engsner, C. Strannegård, P. Mostad, "Exact Spectral
Norm Regularization for Neural Networks".
"""

from dataclasses import dataclass, field
from functools import cache
from math import prod
from typing import Any, cast

from omegaconf import OmegaConf

from jacexp.store.folders import CONF
from jacexp.store.tables import STRENGTHS

CITATION = {
    "P1": "Demyanov, Bailey, Kotagiri, Leckie: Invariant Backpropagation",
    "P2": "Johansson, Engsner, Strannegård, Mostad: Exact Spectral Norm Regularization for Neural Networks",
}

PROTOCOLS = {"ibp": "P1", "spectral": "P2", "spectral_vgg": "P2"}
"""Whose rules each file of ``conf/protocol`` states."""

METHODS = {
    "P1": ("none", "pred_ibp", "loss_ibp", "at", "fast_at", "tbp", "fast_tbp"),
    "P2": ("spec", "frob", "spec_bound", "l2", "none"),
}
"""The methods of each paper, in the order of its Table 1."""


NOT_A_SWITCH = {"name", "_target_", "engine", "precompute"}
"""Keys of a method's file that change how a number is computed, not which."""

NETWORK_SWITCHES = {"model.init", "model.pool", "model.filters"}
"""Switches of the papers' networks; any other ``model.`` key is an argument of a network of the user's own."""


def is_switch(key: str) -> bool:
    """Return whether a key of ``options`` makes a variant of a method; arguments of one's own things do not."""
    is_own = key.startswith(("model.", "dataset.")) and key not in NETWORK_SWITCHES
    return key not in NOT_A_SWITCH and not is_own


@cache
def _conf(group: str, name: str) -> dict[str, Any]:
    """Read a configuration file; one that is not there, as of a method of one's own, is empty."""
    path = CONF / group / f"{name}.yaml"
    found = OmegaConf.to_container(OmegaConf.load(path)) if path.is_file() else {}
    return cast(dict[str, Any], found)


def strength_of(method: str) -> str | None:
    """Return the column of ``runs.csv`` that holds a method's strength; ``none`` has none."""
    return next((c for c in STRENGTHS if c in _conf("method", method).get("method", {})), None)


FORMERLY: dict[str, object] = {"beta_schedule": "constant"}
"""Switches whose default is another than it was when runs were stored without them, and what those runs had."""


def switches(method: str) -> dict[str, object]:
    """Return the switches of a method at the value that the papers' cells are made with; another is a variant."""
    settings = _conf("method", method).get("method", {})
    return {k: v for k, v in settings.items() if k not in NOT_A_SWITCH and k not in STRENGTHS}


@dataclass(frozen=True)
class Printed:
    """One cell of a paper's Table 1."""

    value: float
    """Error (P1) or accuracy (P2), percent."""
    deviation: float
    """The number after ±, percentage points. P2 calls it one standard deviation, P1 does not say what it is."""
    strength: float | None = None
    """P1: the best beta or epsilon."""
    seconds: float | None = None
    """P1: seconds an epoch."""


TABLE1: dict[str, dict[str, dict[str, Printed]]] = {
    "P1": {
        "mnist": {
            "none": Printed(1.21, 0.08, None, 1.51),
            "pred_ibp": Printed(0.90, 0.10, 1.0, 2.64),
            "loss_ibp": Printed(1.09, 0.11, 0.03, 2.25),
            "at": Printed(0.89, 0.05, 0.05, 2.66),
            "fast_at": Printed(0.89, 0.06, 0.03, 2.28),
            "tbp": Printed(1.07, 0.12, 0.01, 7.47),
            "fast_tbp": Printed(1.21, 0.08, 0.0003, 5.38),
        },
        "cifar10": {
            "none": Printed(34.7, 0.6, None, 2.84),
            "pred_ibp": Printed(32.6, 0.4, 0.1, 5.20),
            "loss_ibp": Printed(33.1, 0.5, 0.003, 4.24),
            "at": Printed(34.7, 0.3, 0.0003, 5.40),
            "fast_at": Printed(34.7, 0.6, 0.0003, 4.78),
            "tbp": Printed(27.2, 0.7, 0.1, 15.55),
            "fast_tbp": Printed(34.7, 0.3, 0.0003, 10.30),
        },
    },
    "P2": {
        "cifar10": {
            "spec": Printed(90.20, 0.61),
            "frob": Printed(90.21, 0.69),
            "spec_bound": Printed(89.37, 0.70),
            "l2": Printed(89.94, 0.76),
            "none": Printed(88.59, 0.67),
        },
        "kmnist": {
            "spec": Printed(96.61, 0.14),
            "frob": Printed(96.39, 0.08),
            "spec_bound": Printed(95.72, 0.21),
            "l2": Printed(93.38, 0.03),
            "none": Printed(94.36, 0.26),
        },
        "fmnist": {
            "spec": Printed(91.10, 0.06),
            "frob": Printed(91.00, 0.16),
            "spec_bound": Printed(90.66, 0.26),
            "l2": Printed(90.84, 0.30),
            "none": Printed(90.35, 0.28),
        },
    },
}
"""Both papers' Table 1, by paper, data set and method."""

N_TEST = 10_000
"""The size of the official test set of each of the papers' data sets; another number is said beside the result."""


@dataclass(frozen=True)
class Experiment:
    """What a stored run must be to count for a cell or a curve: everything that is not searched."""

    paper: str
    """``P1`` or ``P2``: whose protocol it follows."""
    dataset: str
    model: str
    n_epochs: int
    subset: int | None = None
    """Training images that are drawn; None for all of them."""
    augmented: bool = False
    n_seeds: int | None = field(default=None, compare=False)
    """As many as the paper trained; None for an experiment that is in no paper."""

    @property
    def slug(self) -> str:
        """A name for files, the same as the data set's where the paper ran this very experiment."""
        if self.n_seeds is not None:
            return self.dataset
        parts = [self.dataset, self.model, f"{self.n_epochs}-epochs"]
        parts += [f"{self.subset}-images"] if self.subset else []
        parts += ["augmented"] if self.augmented else []
        return "-".join(parts)

    @property
    def title(self) -> str:
        """What was trained, in words."""
        words = [set_name(self.dataset), self.model, f"{self.n_epochs} epochs"]
        words += [f"{self.subset:,} training images"] if self.subset else []
        words += ["augmented"] if self.augmented else []
        return ", ".join(words)


NAMES = {"mnist": "MNIST", "kmnist": "KMNIST", "fmnist": "FashionMNIST", "cifar10": "CIFAR-10"}
"""How the papers write their data sets."""

METHOD_NAMES = {
    "none": "None",
    "spec": "Spectral",
    "frob": "Frobenius",
    "spec_bound": "Spectral-Bound",
    "l2": "L2",
    "analytical": "Analytical",
    "pred_ibp": "Prediction IBP",
    "loss_ibp": "Loss IBP",
    "at": "AT",
    "fast_at": "Fast AT",
    "tbp": "TBP",
    "fast_tbp": "Fast TBP",
}
"""How the papers write their methods."""


def set_name(dataset: str) -> str:
    """Write a data set as the papers do; a set of one's own keeps its name."""
    return NAMES.get(dataset, dataset)


def method_name(method: str) -> str:
    """Write a method as the papers do; one of one's own keeps its name."""
    return METHOD_NAMES.get(method, method)


EXPERIMENTS = {
    "P1": (
        Experiment("P1", "mnist", "convnet_mnist", 80, subset=10_000, n_seeds=10),
        Experiment("P1", "cifar10", "convnet_cifar", 80, subset=10_000, n_seeds=10),
    ),
    "P2": (
        Experiment("P2", "cifar10", "vgg16_bn", 100, augmented=True, n_seeds=5),
        Experiment("P2", "kmnist", "lenet", 50, n_seeds=5),
        Experiment("P2", "fmnist", "lenet", 50, n_seeds=5),
    ),
}
"""Table 1 of each paper (P1 Section 5.1; P2 Section 4.1 and A.2). The figures show the networks of these runs."""

N_TRAIN = {"mnist": 60_000, "kmnist": 60_000, "fmnist": 60_000, "cifar10": 50_000}
"""The size of the official training set of each of the papers' data sets."""

P1_BATCH = 32
"""The batch size of every experiment of P1."""

SIZES = (1_000, 2_000, 3_000, 5_000, 10_000, 20_000, 30_000, 60_000)
"""Training images of P1 Figure 4."""

SIZE_METHODS = ("none", "pred_ibp")
"""The methods of P1 Figure 4."""


def size_experiment(size: int, *, augmented: bool) -> Experiment:
    """Describe one size of P1 Figure 4: 100 epochs plain, 150 with augmentation, 5 seeds (P1 Section 5.4)."""
    subset = None if size == N_TRAIN["mnist"] else size
    n_epochs = 150 if augmented else 100
    return Experiment("P1", "mnist", "convnet_mnist", n_epochs, subset=subset, augmented=augmented, n_seeds=5)


COLUMNS = {"train.lr": "lr", "train.batch_size": "batch_size", "train.momentum": "momentum"}
"""The columns of ``runs.csv`` that are called otherwise on the command line, where they may be swept."""


def grid(experiment: Experiment, method: str) -> dict[str, tuple[float, ...]]:
    """Return the grid of a method by column of ``runs.csv``, as ``conf`` has it: P2's from A.2, P1's unstated there."""
    vgg = experiment.model == "vgg16_bn"
    protocol = _conf("protocol", "ibp" if experiment.paper == "P1" else "spectral_vgg" if vgg else "spectral")
    axes = {COLUMNS[key]: values for key, values in protocol["grid"].items() if key in COLUMNS}
    strength = strength_of(method)
    axes |= {strength: protocol["protocol"][strength]} if strength else {}
    return {column: tuple(map(float, values.split(","))) for column, values in axes.items()}


def grid_size(experiment: Experiment, method: str) -> int:
    """Count the settings of a method's grid."""
    return prod(len(values) for values in grid(experiment, method).values())

"""The commands that make what is missing. All of them go on where an earlier one stopped."""

from collections.abc import Iterable, Mapping, Sequence

from jacexp.report.paper import COLUMNS, EXPERIMENTS, N_TRAIN, P1_BATCH, Experiment
from jacexp.report.select import How


def train(experiment: Experiment, method: str, how: How) -> str:
    """Return the command that trains a method's whole grid, with every seed, in one of Table 1's experiments."""
    words = [*_start(method, experiment.dataset), *_protocol(experiment, method), *_select(how), "-m"]
    return " ".join(words)


def train_sizes(method: str, sizes: Sequence[int], experiment: Experiment, how: How) -> str:
    """Return the command that trains a method on several numbers of training images (P1 Figure 4)."""
    words = [
        f"data.subset={','.join(map(str, sizes))}",
        f"train.epochs={experiment.n_epochs}",
        "'seed=range(5)'",
    ]
    words += ["data.augment=affine"] if experiment.augmented else []
    return " ".join([*_start(method, experiment.dataset), *words, *_select(how), "-m"])


KEYS = {column: key for key, column in COLUMNS.items()}
"""The configuration keys of columns of ``runs.csv``, other than a method's own."""


def train_points(
    experiment: Experiment, method: str, points: Mapping[str, Sequence[float]], seeds: Iterable[int], how: How
) -> str:
    """Return the command that trains some points of a method's grid, values by column, with some seeds."""
    words = [
        f"{KEYS.get(c, f'method.{c}')}={','.join(f'{v:g}' for v in values)}" for c, values in points.items()
    ]
    words.append(f"seed={','.join(map(str, sorted(seeds)))}")
    e = experiment
    if e not in EXPERIMENTS[e.paper]:
        words += [f"data.subset={e.subset or N_TRAIN[e.dataset]}", f"train.epochs={e.n_epochs}"]
        words += ["data.augment=affine"] if e.augmented else []
    return " ".join([*_start(method, e.dataset), *_protocol(e, method), *words, *_select(how), "-m"])


def evaluate(evaluation: str, experiment: Experiment) -> str:
    """Return the command that evaluates the stored runs on a data set."""
    return f"python scripts/evaluate.py eval={evaluation} dataset={experiment.dataset}"


def train_and_evaluate(
    evaluation: str, experiment: Experiment, methods: Iterable[str], how: How
) -> tuple[str, ...]:
    """Return the commands from nothing to the curves of some methods."""
    return (*(train(experiment, m, how) for m in methods), evaluate(evaluation, experiment))


def benchmark(model: str) -> str:
    """Return the command that times a training step of every method on a model."""
    sizes = "16 32 64 128 256 512 1024" if model == "lenet" else str(P1_BATCH)
    return f"python scripts/benchmark.py step --networks {model} --batch-sizes {sizes}"


def _start(method: str, dataset: str) -> list[str]:
    return [f"python train.py +method={method}", f"dataset={dataset}"]


def _protocol(experiment: Experiment, method: str) -> list[str]:
    # A method and a data set bring along the protocol of their paper; plain training on CIFAR-10 has to be told.
    told = (experiment.paper, method, experiment.dataset) == ("P1", "none", "cifar10")
    return ["protocol=ibp"] if told else []


def _select(how: How) -> list[str]:
    return [] if how == "holdout" else [f"select={how}"]

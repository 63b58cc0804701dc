"""The evaluations by name, with the axes on which the papers draw them."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, get_type_hints

import pandas as pd
from torch import Tensor

from jacexp.errors import ConfigError
from jacexp.evaluate.accuracy import accuracy
from jacexp.evaluate.adversarial import adversarial
from jacexp.evaluate.autoattack import autoattack
from jacexp.evaluate.boundary import boundary
from jacexp.evaluate.frame import settings_json
from jacexp.evaluate.jacobian import jacobian
from jacexp.evaluate.noise import gaussian, white_noise
from jacexp.evaluate.pgd import pgd, tpgd
from jacexp.evaluate.samples import Progress
from jacexp.evaluate.setting import fits, in_words
from jacexp.evaluate.square import square
from jacexp.models import Network

RESOURCES = ("batch_size", "progress")
"""Keywords of evaluations on which no number depends."""


def axis(stop: float, n_points: int = 21) -> tuple[float, ...]:
    """Give equally spaced points from 0 to stop, rounded to the decimals that they are meant to have."""
    return tuple(round(stop * i / (n_points - 1), 9) for i in range(n_points))


@dataclass(frozen=True)
class Evaluation:
    """An evaluation and the points at which it is drawn unless others are asked for.

    Attributes:
        function: (net, x, y, *, ...) to points, or to points and samples.
        axis: the keyword that lists the points of the curve, if there is a curve.
        points: the protocol's points.
        points_by_dataset: other points where the protocol has others.
    """

    function: Callable[..., pd.DataFrame | tuple[pd.DataFrame, pd.DataFrame]]
    axis: str | None = None
    points: tuple[float, ...] = ()
    points_by_dataset: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def settings(self, dataset: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Complete the settings given with the defaults; of the axis, None asks for the protocol's points.

        Args:
            dataset: name of the data set, which may have points of its own.
            given: keywords of the function.

        Returns:
            Every keyword of the function but progress.

        Raises:
            ConfigError: for a keyword that the function does not have, or a value of another type than it takes.
        """
        parameters = inspect.signature(self.function).parameters.values()
        known = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "progress"}
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise ConfigError(
                f"{self.function.__name__} has no setting {', '.join(unknown)}; it has {', '.join(known)}"
            )
        kinds = get_type_hints(self.function)
        for name, value in given.items():
            asks_for_protocol = name == self.axis and value is None
            if not (asks_for_protocol or fits(value, kinds[name])):
                raise ConfigError(
                    f"eval.{name}={value}: {self.function.__name__} takes {in_words(kinds[name])}"
                )
        settings = {**known, **given}
        if self.axis is not None and given.get(self.axis) is None:
            settings[self.axis] = list(self.points_by_dataset.get(dataset, self.points))
        return settings

    def stored_settings(self, settings: Mapping[str, Any]) -> str:
        """Give the text of the column ``settings`` beside which the points will stand: what a store can look for."""
        aside = (*RESOURCES, self.axis)
        return settings_json({name: value for name, value in settings.items() if name not in aside})


EVALUATIONS = {
    "accuracy": Evaluation(accuracy),
    # Demyanov et al., Figures 2 and 3; axes unstated there
    "adversarial": Evaluation(adversarial, "epsilons", axis(0.2), {"cifar10": axis(0.02)}),
    "gaussian": Evaluation(gaussian, "sigmas", axis(0.5), {"cifar10": axis(0.2)}),
    # Johansson et al., Figure 3; axes unstated there
    "white_noise": Evaluation(white_noise, "sigmas", axis(0.5)),
    "pgd": Evaluation(pgd, "steps", (0, 1, 2, 5, 10, 20, 40)),
    "tpgd": Evaluation(tpgd, "steps", (0, 1, 2, 5, 10, 20, 40)),
    "square": Evaluation(square, "queries", (0, 10, 30, 100, 300, 1000)),
    "autoattack": Evaluation(autoattack),
    # Johansson et al., Figures 4 and 5
    "boundary": Evaluation(boundary),
    "jacobian": Evaluation(jacobian),
}
"""Every evaluation by the one name that it has in YAML, file and column."""


class Outcome(NamedTuple):
    """The points of an evaluation's curves and, where it measures every sample, those measurements."""

    points: pd.DataFrame
    samples: pd.DataFrame | None


def find(name: str) -> Evaluation:
    """Find an evaluation by name, or raise a ConfigError that lists them."""
    if name not in EVALUATIONS:
        raise ConfigError(f"eval={name} is unknown; choose one of {', '.join(EVALUATIONS)}")
    return EVALUATIONS[name]


def evaluate(
    name: str,
    net: Network,
    x: Tensor,
    y: Tensor,
    *,
    dataset: str,
    progress: Progress | None = None,
    **settings: Any,
) -> Outcome:
    """Run an evaluation by name.

    Args:
        name: one of `EVALUATIONS`.
        net: a network from pixels in [0,1] to logits; it is left as it was.
        x: images, (N, C, H, W), uint8 or float in [0,1].
        y: labels, (N,).
        dataset: name of the data set, which decides the axis where none is given.
        progress: told of the samples done and of all.
        settings: keywords of the evaluation.

    Returns:
        Its tables.

    Raises:
        ConfigError: for an unknown name or setting, or a value that makes no sense.
        DataError: for data that does not fit the network.
        EvaluationError: for a network whose logits are not finite.
    """
    evaluation = find(name)
    result = evaluation.function(net, x, y, **evaluation.settings(dataset, settings), progress=progress)
    return Outcome(*result) if isinstance(result, tuple) else Outcome(result, None)

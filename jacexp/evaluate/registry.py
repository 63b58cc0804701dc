"""The evaluations by name, with the axes on which the papers draw them."""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd
from torch import Tensor

from jacexp.errors import ConfigError, did_you_mean
from jacexp.evaluate.accuracy import accuracy
from jacexp.evaluate.adversarial import adversarial
from jacexp.evaluate.boundary import boundary
from jacexp.evaluate.jacobian import jacobian
from jacexp.evaluate.noise import gaussian, white_noise
from jacexp.evaluate.pgd import pgd, tpgd
from jacexp.evaluate.samples import Progress, check_samples
from jacexp.evaluate.settings import check
from jacexp.evaluate.torchattacks import autoattack, autoattack_quick, square
from jacexp.models.network import Network


def axis(stop: float) -> tuple[float, ...]:
    """Return 21 equally spaced points from 0 to stop, rounded to the decimals that they are meant to have."""
    return tuple(round(stop * i / 20, 9) for i in range(21))


@dataclass(frozen=True)
class Evaluation:
    """An evaluation and the points at which it is drawn unless others are asked for.

    Attributes:
        function: (samples, *, ...) to points, or to points and a table of samples.
        axis: the keyword that lists the points of the curve, if there is a curve.
        points: the protocol's points.
        points_by_dataset: other points where the protocol has others.
        sampling: the settings that it has of `check_samples`; where ``n_samples`` is none, all images are evaluated,
            and where ``batch_size`` is none, the numbers depend on a setting of the evaluation's own.
    """

    function: Callable[..., pd.DataFrame | tuple[pd.DataFrame, pd.DataFrame]]
    axis: str | None = None
    points: tuple[float, ...] = ()
    points_by_dataset: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    sampling: tuple[str, ...] = ("n_samples", "batch_size")

    def settings(self, dataset: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Check the settings given and complete them with the defaults.

        Args:
            dataset: name of the data set, which may have points of its own.
            given: keywords of the function and of `sampling`; of the axis, None asks for the protocol's points.

        Returns:
            Every setting.

        Raises:
            ConfigError: for a setting that the evaluation does not have, or a value that makes no sense.
        """
        known = {**_defaults(self.function), **{k: _defaults(check_samples)[k] for k in self.sampling}}
        for name in given:
            if name not in known:
                raise ConfigError(
                    f"eval.{name}: {self.function.__name__} has no setting {name}{did_you_mean(name, known)}; "
                    f"it has {', '.join(known)}"
                )
        settings = {**known, **given}
        if self.axis is not None and settings[self.axis] in (None, inspect.Parameter.empty):
            settings[self.axis] = list(self.points_by_dataset.get(dataset, self.points))
        own, sampling = self._parts(settings)
        check(self.function, own)
        check(check_samples, sampling)
        return settings

    def _parts(self, settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Split the settings into the function's and those of `check_samples`."""
        sampling = {name: settings[name] for name in self.sampling}
        return {name: value for name, value in settings.items() if name not in sampling}, sampling

    def stored_settings(self, settings: Mapping[str, Any]) -> str:
        """Return the text of the column ``settings``, all that the numbers of a point depend on, as sorted JSON."""
        aside = ("batch_size", self.axis)
        return json.dumps({k: v for k, v in settings.items() if k not in aside}, sort_keys=True)

    def __call__(
        self, net: Network, x: Tensor, y: Tensor, settings: Mapping[str, Any], progress: Progress | None
    ) -> "Outcome":
        """Evaluate a network on images and labels, with settings that are complete."""
        own, sampling = self._parts(settings)
        result = self.function(check_samples(net, x, y, **sampling, progress=progress), **own)
        points, samples = result if isinstance(result, tuple) else (result, None)
        return Outcome(points.assign(settings=self.stored_settings(settings)), samples)


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


ALL_IMAGES = ("batch_size",)
PAPER_STEPS = (0, 1, 2, 5, 10, 20, 40)

EVALUATIONS = {
    "accuracy": Evaluation(accuracy, sampling=ALL_IMAGES),
    # Demyanov et al., Figures 2 and 3; axes unstated there
    "adversarial": Evaluation(
        adversarial, "epsilons", axis(0.2), {"cifar10": axis(0.02)}, sampling=ALL_IMAGES
    ),
    "gaussian": Evaluation(gaussian, "sigmas", axis(0.5), {"cifar10": axis(0.2)}, sampling=ALL_IMAGES),
    # Johansson et al., Figure 3; axes unstated there
    "white_noise": Evaluation(white_noise, "sigmas", axis(0.5), sampling=ALL_IMAGES),
    "pgd": Evaluation(pgd, "steps", PAPER_STEPS),
    "tpgd": Evaluation(tpgd, "steps", PAPER_STEPS),
    "square": Evaluation(square, "queries", (0, 10, 30, 100, 300, 1000), sampling=("n_samples",)),
    "autoattack": Evaluation(autoattack, sampling=("n_samples",)),
    "autoattack_quick": Evaluation(autoattack_quick, sampling=("n_samples",)),
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
        raise ConfigError(
            f"eval={name} is unknown{did_you_mean(name, EVALUATIONS)}; choose one of {', '.join(EVALUATIONS)}"
        )
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
        settings: of the evaluation.

    Returns:
        Its tables.

    Raises:
        ConfigError: for an unknown name or setting, or a value that makes no sense.
        DataError: for data that does not fit the network.
        EvaluationError: for a network whose logits are not finite.
    """
    evaluation = find(name)
    return evaluation(net, x, y, evaluation.settings(dataset, settings), progress)

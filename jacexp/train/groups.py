"""Which runs of a sweep can be trained as one stack of networks."""

import json
from collections import defaultdict
from collections.abc import Sequence
from functools import cache

from jacexp.errors import JacexpError
from jacexp.jacobian.explicit import why_not_stacked
from jacexp.models.network import Network
from jacexp.train.config import as_dict
from jacexp.train.job import Job, method_class, recipe
from jacexp.train.stack import can_be_stacked

OWN = (
    "seed",
    "checkpoint",
    "train.lr",
    "train.momentum",
    "train.momentum_form",
    "train.schedule",
    "train.gamma",
    "train.step_epochs",
    "train.warmup_epochs",
    "train.scheduler",
)
"""The keys in which the networks of a stack may differ, beside the method's strength."""

UNSEEN = ("grid", "progress", "protocol", "paths.data", "logger")
"""Keys that no number depends on."""


def compatible_groups(jobs: Sequence[Job], largest: int | None = None) -> list[list[Job]]:
    """Group runs that can be trained as one stack.

    They share all but seed, strength, learning rate, the optimiser's other numbers, schedule and which epoch is tested.
    A run stays alone that has several devices, ``train.engine=autograd``, a method without explicit passes, a network
    without stacked rules, callbacks, or an optimiser that is not elementwise. A line says so where one of the last four
    is the reason.

    Args:
        jobs: the runs.
        largest: the most runs of a group; None for no limit.

    Returns:
        The groups, each in the order given.
    """
    groups: dict[str, list[Job]] = defaultdict(list)
    reasons: set[str] = set()
    for number, job in enumerate(jobs):
        try:
            key = _key(job)
        except NotStackedError as reason:
            key = None
            reasons.add(str(reason))
        groups[key or f"alone {number}"].append(job)
    for text in sorted(reasons) if len(jobs) > 1 else ():
        _say_once(text)
    return [
        group[first : first + (largest or len(group))]
        for group in groups.values()
        for first in range(0, len(group), largest or len(group))
    ]


class NotStackedError(JacexpError):
    """A run whose method, network, callbacks or optimiser cannot be stacked."""


@cache
def _say_once(text: str) -> None:
    print(text, flush=True)


def _why_not_stacked(net: Network) -> str | None:
    if not all(p.requires_grad for p in net.parameters()):
        return "some of its weights are not to be trained, and a stack trains all"
    return why_not_stacked(net.body)


def _key(job: Job) -> str | None:
    """Write out what the runs of a group have in common.

    Returns:
        A text that all of them have; None for a run that stays alone.

    Raises:
        NotStackedError: if no run of this method, network or optimiser, or with callbacks, can be in a group.
    """
    cfg, method = job.cfg, method_class(job.cfg)
    if cfg.train.engine == "autograd" or cfg.train.devices > 1:
        return None
    try:
        reason = _why_not_stacked(job.stand_in()) if "_target_" in cfg.model else None
    except JacexpError:  # as the run itself will say
        return None
    if not can_be_stacked(method):
        raise NotStackedError(f"{cfg.method.name} has no explicit passes, so its runs are trained one by one")
    if reason:
        raise NotStackedError(f"{cfg.model.name} is trained one by one, not fused: {reason}")
    if cfg.callbacks:
        names = ", ".join(map(str, cfg.callbacks))
        raise NotStackedError(f"runs with callbacks ({names}) are trained one by one, not fused")
    optimizer = recipe(cfg).optimizer
    if optimizer and not optimizer.is_elementwise:
        raise NotStackedError(
            f"runs with {optimizer.target} are trained one by one, not fused: it is not declared to treat each weight "
            "by itself"
        )
    shared = as_dict(cfg)
    is_plain = method.strength is None or cfg.method[method.strength] == 0
    for key in (*OWN, *UNSEEN, *([f"method.{method.strength}"] if method.strength else [])):
        *path, last = key.split(".")
        part = shared
        for name in path:
            part = part[name]
        part.pop(last, None)
    shared["train"]["optimizer"] = optimizer and optimizer.target  # its arguments are each network's own
    return json.dumps([is_plain, shared], sort_keys=True)

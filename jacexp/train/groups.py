"""Which runs of a sweep can be trained as one stack of networks."""

import json
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from typing import Any

from omegaconf import OmegaConf

from jacexp.errors import JacexpError
from jacexp.jacobian.explicit import why_not_stacked
from jacexp.train.job import Job, method_class
from jacexp.train.stack import can_be_stacked

OWN = (
    "seed",
    "checkpoint",
    "train.lr",
    "train.momentum",
    "train.momentum_form",
    "train.schedule",
    "train.gamma",
)
"""The keys in which the networks of a stack may differ, beside the method's strength."""

UNSEEN = ("grid", "progress", "protocol", "paths.data")
"""Keys that no number depends on."""


def compatible_groups(jobs: Sequence[Job], largest: int | None = None) -> list[list[Job]]:
    """Group runs that can be trained as one stack.

    They share all but seed, strength, learning rate, momentum, schedule and which epoch is tested. A run stays alone
    that has a logger, several devices, ``train.engine=autograd``, a method without explicit passes or a network without
    stacked rules. A line says so where the method or the network is the reason.

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
    """A run whose method or network cannot be stacked."""


@cache
def _say_once(text: str) -> None:
    print(text, flush=True)


def _key(job: Job) -> str | None:
    """Write out what the runs of a group have in common.

    Returns:
        A text that all of them have; None for a run that stays alone.

    Raises:
        NotStackedError: if no run of this method or this network can be in a group.
    """
    cfg, method = job.cfg, method_class(job.cfg)
    if cfg.logger is not None or cfg.train.engine == "autograd" or cfg.train.devices > 1:
        return None
    try:
        reason = why_not_stacked(job.stand_in().body) if "_target_" in cfg.model else None
    except JacexpError:  # as the run itself will say
        return None
    if not can_be_stacked(method):
        raise NotStackedError(f"{cfg.method.name} has no explicit passes, so its runs are trained one by one")
    if reason:
        raise NotStackedError(f"{cfg.model.name} is trained one by one, not fused: {reason}")
    shared = OmegaConf.to_container(cfg, resolve=True)
    is_plain = method.strength is None or cfg.method[method.strength] == 0
    for key in (*OWN, *UNSEEN, *([f"method.{method.strength}"] if method.strength else [])):
        *path, last = key.split(".")
        part: Any = shared
        for name in path:
            part = part[name]
        part.pop(last, None)
    return json.dumps([is_plain, shared], sort_keys=True)

"""Train one network, or with -m a grid of them: jacexp train +method=spec dataset=kmnist -m."""

import signal
import sys
from collections.abc import Sequence
from typing import Any

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # while the imports below take their seconds, Ctrl-C ends it at once

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from jacexp.store.folders import CONF
from jacexp.train.commandline import checked_arguments, refused, reported
from jacexp.train.config import register
from jacexp.train.keys import check_keys
from jacexp.train.stop import stop_signals

register()


@hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
def train(cfg: DictConfig) -> float:
    """Train what the configuration describes and return its validation loss, infinite if it diverged."""
    with refused():
        hydras: Any = HydraConfig.get()  # a DictConfig, whatever its annotation says
        check_keys(hydras, "hydra.")
        check_keys(cfg)
        from jacexp.train.result import objective  # torch and Lightning, which take seconds
        from jacexp.train.run import run

        return objective(run(cfg))


def main(words: Sequence[str]) -> int:
    """Train, and return the exit status."""
    with reported(), stop_signals():  # also between the runs of a sweep
        sys.argv[1:] = checked_arguments(list(words))
        train()
    return 0

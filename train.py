"""Train one network, or with -m a grid of them: python train.py +method=spec dataset=kmnist -m."""

import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # while the imports below take their seconds, Ctrl-C ends it at once

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from jacexp.train.commandline import checked_arguments, refused, reported
from jacexp.train.config import register
from jacexp.train.keys import check_keys
from jacexp.train.result import objective
from jacexp.train.run import run
from jacexp.train.stop import stop_signals

register()


@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def main(cfg: DictConfig) -> float:
    """Train what the configuration describes and return its validation loss, infinite if it diverged."""
    with refused():
        check_keys(HydraConfig.get(), "hydra.")
        return objective(run(cfg))


if __name__ == "__main__":
    with reported(), stop_signals():  # also between the runs of a sweep
        sys.argv[1:] = checked_arguments(sys.argv[1:])
        main()

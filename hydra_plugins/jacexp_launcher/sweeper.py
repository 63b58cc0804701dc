"""Hydra's own sweeper, which need not compose what the launcher composes before it trains anything."""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore


@dataclass
class JacexpSweeperConfig(BasicSweeperConf):
    """``hydra/sweeper=jacexp``: the product of all lists of values."""

    _target_: str = "hydra_plugins.jacexp_launcher.sweeper.JacexpSweeper"


class JacexpSweeper(BasicSweeper):
    """Takes the product of all lists of values, as Hydra's sweeper does."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Compose every job to see whether it can be, unless the launcher will before it trains the first."""
        if not getattr(self.launcher, "composes_first", False):
            super().validate_batch_is_legal(batch)


ConfigStore.instance().store(
    group="hydra/sweeper", name="jacexp", node=JacexpSweeperConfig, provider="jacexp"
)

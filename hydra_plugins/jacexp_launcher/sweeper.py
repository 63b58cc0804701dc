"""Hydra's own sweeper, without what it does in vain for jacexp's runs, and with one line where it cannot write."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore
from hydra.errors import CompactHydraException
from omegaconf import OmegaConf


@dataclass
class JacexpSweeperConfig(BasicSweeperConf):
    """``hydra/sweeper=jacexp``: the product of all lists of values."""

    _target_: str = "hydra_plugins.jacexp_launcher.sweeper.JacexpSweeper"


class JacexpSweeper(BasicSweeper):
    """Takes the product of all lists of values, as Hydra's sweeper does."""

    def sweep(self, arguments: list[str]) -> Any:
        """Run the jobs that the arguments make.

        Returns:
            What became of each, a list for each batch.

        Raises:
            CompactHydraException: if the sweep's folder cannot be written.
        """
        folder = Path(self.config.hydra.sweep.dir)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            OmegaConf.save(
                self.config, folder / "multirun.yaml"
            )  # as Hydra is about to do, and would fail at length
        except OSError as error:
            raise CompactHydraException(
                f"error: {folder} cannot be written ({error}); choose another folder with paths.results=DIR"
            ) from error
        return super().sweep(arguments)

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Compose every job to see whether it can be, unless the launcher will before it trains the first."""
        if not getattr(self.launcher, "composes_first", False):
            super().validate_batch_is_legal(batch)


ConfigStore.instance().store(
    group="hydra/sweeper", name="jacexp", node=JacexpSweeperConfig, provider="jacexp"
)

"""The launcher that Hydra sees; what takes time to import waits for its first sweep."""

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.jacexp_launcher import config as _names  # noqa: F401  # registers them


class JacexpLauncher(BasicLauncher):
    """Trains what a sweep misses with one of jacexp's executors; other programs' jobs run as Hydra runs them."""

    def __init__(self, executor: str, fuse: bool, largest: int | None = None, **settings: Any) -> None:
        """Take where runs are trained, whether and how many together, and the executor's own settings."""
        super().__init__()
        self.executor, self.fuse, self.largest, self.settings = executor, fuse, largest, settings

    @property
    def composes_first(self) -> bool:
        """Whether all jobs of a sweep are composed before the first is run."""
        return _is_jacexp(self.config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs of a sweep and give what became of each, in order."""
        if not self.composes_first:
            return super().launch(job_overrides, initial_job_idx)
        from hydra_plugins.jacexp_launcher._core import launch

        return launch(self, job_overrides, initial_job_idx)


def _is_jacexp(config: DictConfig) -> bool:
    """Whether a configuration is one of jacexp's runs; its type is named, for importing it takes seconds."""
    kind = OmegaConf.get_type(config)
    return (kind.__module__, kind.__qualname__) == ("jacexp.train.config", "RunConfig")

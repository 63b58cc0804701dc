"""The launcher and the sweeper that Hydra sees; what takes time to import waits for the first sweep."""

from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.errors import ConfigCompositionException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from hydra_plugins.jacexp_launcher.config import NAMES


class JacexpLauncher(Launcher):
    """Trains what a sweep misses with one of jacexp's executors; another program's jobs are run one by one."""

    def __init__(
        self, executor: str, fuse: bool, largest: int | None = None, dry: bool = False, **settings: Any
    ) -> None:
        """Train in an executor, compatible runs together or not, with the executor's own settings; or only tell."""
        self.executor, self.fuse, self.largest, self.settings = executor, fuse, largest, settings
        self.dry = dry

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what a sweep needs."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs of a sweep and return what became of each, in order."""
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        if is_jacexp(self.config):
            return self._train(job_overrides)
        if self.dry:
            raise ConfigCompositionException(
                "hydra.launcher.dry: only jacexp's own runs can be told beforehand"
            )
        return [self._run(words, number) for number, words in enumerate(job_overrides, initial_job_idx)]

    def _train(self, job_overrides: Sequence[Sequence[str]]) -> list[JobReturn]:
        from jacexp.sweep.launch import launch
        from jacexp.sweep.launchers import make_executor
        from jacexp.train.result import objective

        loader, folder = self.hydra_context.config_loader, Path(self.config.hydra.sweep.dir)
        make = partial(make_executor, self.executor, folder, largest=self.largest, **self.settings)
        entries = launch(
            self.config, loader, job_overrides, make, fuse=self.fuse, largest=self.largest, dry=self.dry
        )
        returns = []
        for entry, words in zip(entries, job_overrides, strict=True):
            cfg = entry.job.cfg if entry.job else None
            job = JobReturn(overrides=words, cfg=cfg, status=JobStatus.COMPLETED)
            job.return_value = objective(entry.over())
            returns.append(job)
        return returns

    def _run(self, words: Sequence[str], number: int) -> JobReturn:
        job = self.hydra_context.config_loader.load_sweep_config(self.config, list(words))
        with open_dict(job):
            job.hydra.job.id = job.hydra.job.num = number
        result = run_job(
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            config=job,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        return result


class JacexpSweeper(Sweeper):
    """Takes the product of all lists of values, of the grid and then of the command line, as one batch."""

    def __init__(self, params: dict[str, str] | None = None) -> None:
        """Sweep a grid: values by key, as the command line would say them."""
        self.params = params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Make the launcher."""
        self.hydra_context = hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        if is_jacexp(config) and not isinstance(self.launcher, JacexpLauncher):
            raise ConfigCompositionException(f"hydra/launcher: choose one of {', '.join(NAMES)}")

    def sweep(self, arguments: list[str]) -> Any:
        """Run the jobs that the arguments make and return what became of each."""
        words = [*(f"{key}={values}" for key, values in self.params.items()), *arguments]
        overrides = OverridesParser.create(self.hydra_context.config_loader).parse_overrides(words)
        # The last word for a key counts, in the place of the first.
        values = {override.get_key_element(): _values(override) for override in overrides}
        jobs = product(*([f"{key}={value}" for value in values[key]] for key in values))
        return self.launcher.launch([list(job) for job in jobs], initial_job_idx=0)


def _values(override: Override) -> list[str]:
    if not override.is_sweep_override():
        return [override.get_value_element_as_str()]
    if not override.is_discrete_sweep():
        raise ConfigCompositionException(
            f"{override.input_line}: an interval has no end of values; list some, such as 0.1,0.2 or range(1,5)"
        )
    return list(override.sweep_string_iterator())


def is_jacexp(config: DictConfig) -> bool:
    """Return whether a configuration is one of jacexp's runs; its type is named, for importing it takes seconds."""
    kind = OmegaConf.get_type(config)
    return (kind.__module__, kind.__qualname__) == ("jacexp.train.config", "RunConfig")

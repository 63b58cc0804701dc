"""A sweep of jacexp's runs: composed, checked, trained where something is missing, and collected."""

import contextlib
import io
import shlex
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, configure_log, filter_overrides, run_job, setup_globals
from hydra.errors import CompactHydraException
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.jacexp_launcher._composer import Composer
from jacexp.errors import ConfigError, StoreError
from jacexp.report.progress import MANIFEST, Entry, differing, ending, manifest
from jacexp.report.remaining import Trained
from jacexp.report.ticker import Ticker
from jacexp.store.merge import merge_runs
from jacexp.store.runs import write_json
from jacexp.train.clusters import make_executor
from jacexp.train.commandline import refused
from jacexp.train.stop import stop_signals
from jacexp.train.sweep import SweepRun, plan, train_missing

if TYPE_CHECKING:
    from hydra_plugins.jacexp_launcher.launcher import JacexpLauncher

SLOW_S = 3.0
"""Seconds of checking after which a sweep says what it is doing."""

LISTED = 20
"""How many failures are named one by one."""


def launch(
    launcher: "JacexpLauncher", job_overrides: Sequence[Sequence[str]], initial_job_idx: int
) -> list[JobReturn]:
    """Train what is missing of a sweep and give what became of each job, in order; see `JacexpLauncher`."""
    setup_globals()
    configure_log(launcher.config.hydra.hydra_logging, launcher.config.hydra.verbose)
    folder = Path(launcher.config.hydra.sweep.dir)
    with refused():
        if launcher.largest is not None and launcher.largest < 1:
            raise ConfigError(f"hydra.launcher.largest={launcher.largest} must be at least 1")
        if not job_overrides:
            raise ConfigError("the sweep has no job: one of its ranges or lists is empty")
        executor = make_executor(launcher.executor, folder, launcher.settings)
        with stop_signals():
            composer = Composer(launcher.hydra_context.config_loader, launcher.config)
            words = differing([filter_overrides(overrides) for overrides in job_overrides])
            with _said_if_slow(f"checking {len(words)} jobs", launcher.config.progress):
                tasks = map(composer.task, job_overrides)
                runs = plan(zip(words, tasks, strict=True))
            sweep = _Sweep(folder, runs, launcher)
            sweep.begin()
            with Ticker(folder, launcher.config.progress) as ticker:
                train_missing(
                    runs,
                    executor,
                    fuse=launcher.fuse,
                    largest=launcher.largest,
                    ended=lambda run: sweep.ended(run, ticker),
                )
                sweep.write()  # also for a job that is another's twin
            named = {str(run.error) for run in runs}
            for error in merge_runs(sweep.results):
                if str(error) not in named:
                    print(f"warning: {error}", file=sys.stderr)
    with _said_if_slow(f"collecting {len(runs)} results", launcher.config.progress):
        jobs = zip(runs, job_overrides, strict=True)
        returns = [
            _collect(launcher, run, composer.whole(overrides, number))
            for number, (run, overrides) in enumerate(jobs, start=initial_job_idx)
        ]
    if sweep.report_failures():
        sys.exit(1)  # Hydra would say the first error once more, and advise how to see its traceback
    return returns


@contextlib.contextmanager
def _said_if_slow(text: str, progress: str) -> Iterator[None]:
    """Say what keeps the user waiting, once that is worth a line."""
    said = threading.Timer(SLOW_S, print, [f"{text} ..."], {"flush": True})
    if progress != "off":
        said.start()
    try:
        yield
    finally:
        said.cancel()


class _Sweep:
    """What a sweep says and writes about its runs."""

    def __init__(self, folder: Path, runs: list[SweepRun], launcher: "JacexpLauncher") -> None:
        self.folder, self.runs = folder, runs
        self.results = Path(launcher.config.paths.results)
        self.before = [Trained.of(run.directory.path).n_epochs if run.directory else 0 for run in runs]
        self.is_quiet = launcher.config.progress == "off"
        self.about = {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": shlex.join(["python", *sys.argv]),
            "launcher": OmegaConf.select(launcher.config, "hydra.runtime.choices.hydra/launcher") or "",
        }

    def begin(self) -> None:
        """Write the manifest, refuse what cannot be run, and say what is over already."""
        self.write()
        alike: dict[str, list[SweepRun]] = defaultdict(list)
        for run in self.runs:
            if run.error:
                alike[str(run.error)].append(run)
        for message, runs in alike.items():
            words = runs[0].overrides + (f" and {len(runs) - 1} more" if len(runs) > 1 else "")
            print(f"error: {message} ({words})" if words else f"error: {message}", file=sys.stderr)
        n_over = sum(run.over() is not None for run in self.runs)
        if n_over and not self.is_quiet:
            print(f"{n_over} of {len(self.runs)} runs are over")

    def ended(self, run: SweepRun, ticker: Ticker) -> None:
        """Say how a run ended, and keep the reason of one that has no result for those who look from outside."""
        words = f" ({run.overrides})" if run.overrides else ""
        if run.error:
            print(f"error: {run.error}{words}", file=sys.stderr)
            # A disk that is full for a while ends one run, not the sweep.
            with contextlib.suppress(StoreError):
                self.write()
        else:
            ticker.ended(f"run {run.directory.id}{words}: {ending(run.over())}")

    def report_failures(self) -> bool:
        """End with which runs failed and why, and how to go on; false if none did."""
        failed = [run for run in self.runs if run.error]
        if not failed:
            return False
        lines = [f"  {run.overrides or 'the run'}: {run.error}" for run in failed[:LISTED]]
        lines += [f"  and {len(failed) - LISTED} more"] if len(failed) > LISTED else []
        print(
            f"{len(failed)} of {len(self.runs)} runs failed:",
            *lines,
            "The same command tries them again and leaves alone what is over:",
            f"  {self.about['command']}",
            sep="\n",
            file=sys.stderr,
        )
        return True

    def write(self) -> None:
        """Write the manifest."""
        entries = [
            Entry(
                run.directory.id if run.directory else None,
                run.overrides,
                run.cfg.train.epochs,
                str(run.error) if run.error else None,
                before,
            )
            for run, before in zip(self.runs, self.before, strict=True)
        ]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(
                self.folder / MANIFEST,
                manifest(self.folder.resolve(), self.results.resolve(), entries, **self.about),
            )
        except OSError as error:
            raise StoreError(f"{self.folder} cannot be written ({error})") from error


def _collect(launcher: "JacexpLauncher", run: SweepRun, config: DictConfig) -> JobReturn:
    """Run a job as Hydra does, now that its run is over: its function reads the result and returns."""

    def collect(cfg: DictConfig) -> Any:
        if run.error is None and run.over() is None:
            run.error = StoreError(f"the result in {run.directory.path} is gone")
        if run.error:
            raise CompactHydraException(f"error: {run.error}")
        with contextlib.redirect_stdout(io.StringIO()):  # 80 times that there is nothing to do
            return launcher.task_function(cfg)

    job = run_job(
        hydra_context=launcher.hydra_context,
        task_function=collect,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
    configure_log(launcher.config.hydra.hydra_logging, launcher.config.hydra.verbose)
    return job

"""A sweep from its command line to its last line: composed, checked, trained where something is missing."""

import contextlib
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from jacexp.errors import ConfigError, JacexpError, StoreError
from jacexp.store.folders import REFERENCE
from jacexp.store.merge import merge_runs
from jacexp.store.provenance import command
from jacexp.store.runs import in_words, write_json
from jacexp.store.tables import RUNS, check_table
from jacexp.sweep.compose import Composer
from jacexp.sweep.engine import Executor, plan, train_missing
from jacexp.sweep.entry import Entry
from jacexp.sweep.forecast import forecast, stored_rates
from jacexp.sweep.status import MANIFEST, differing, manifest
from jacexp.sweep.ticker import Ticker
from jacexp.train.commandline import in_one_line
from jacexp.train.keys import check_keys
from jacexp.train.preview import preview
from jacexp.train.sources import warn_of_changes

SLOW_S = 3.0
"""Seconds of checking after which a sweep says what it is doing."""

LISTED = 20
"""How many failures are named one by one."""


def launch(
    config: DictConfig,
    loader: ConfigLoader,
    jobs: Sequence[Sequence[str]],
    make_executor: Callable[[], Executor],
    *,
    fuse: bool,
    largest: int | None,
    dry: bool = False,
) -> list[Entry]:
    """Train what is missing of a sweep.

    Args:
        config: the sweep's own configuration, with Hydra's part.
        loader: Hydra's, which composes the jobs.
        jobs: the overrides of each.
        make_executor: makes what trains them, once it is known that there is something to train.
        fuse: see `train_missing`.
        largest: see `train_missing`.
        dry: tell what would be trained, and train and write nothing.

    Returns:
        What became of each job, in order.

    Raises:
        ConfigError: for a sweep or launcher that cannot be.
        StoreError: if the results cannot be written.
        SystemExit: with status 1, if a run has no result; the reason was printed. After a dry one, with 0 otherwise.
        Stopped: if SIGTERM or Ctrl-C asks for it; what is trained has been saved.
    """
    check_keys(config.hydra, "hydra.")
    if not jobs:
        raise ConfigError("the sweep has no job: one of its ranges or lists is empty")
    folder = Path(config.hydra.sweep.dir)
    executor = None if dry else make_executor()
    is_quiet = config.progress == "off"
    with _reported_if_slow(f"checking {len(jobs)} jobs", is_quiet):
        entries = plan(_composed(Composer(loader, config), jobs))
    sweep = _Sweep(folder, entries, config)
    sweep.refuse()
    if executor is None:
        sys.exit(sweep.tell())
    check_table(sweep.results / "runs.csv", RUNS)
    sweep.write()
    warn_of_changes((entry.job.cfg, entry.job.directory) for entry in entries if entry.job)
    if not is_quiet:
        print("\n".join(sweep.beginning()))
    with Ticker(folder, config.progress) as ticker:
        train_missing(
            entries,
            executor,
            fuse=fuse,
            largest=largest,
            ended=lambda entry: sweep.ended(entry, ticker),
        )
        sweep.write()  # also for a job that is another's twin
    sweep.merge()
    sweep.report_failures()
    return entries


def _composed(
    compose: Composer, jobs: Sequence[Sequence[str]]
) -> Iterator[tuple[str, DictConfig | JacexpError]]:
    for name, words in zip(differing(jobs), jobs, strict=True):
        try:
            yield name, compose(words)
        except (HydraException, OmegaConfBaseException) as error:
            yield name, ConfigError(in_one_line(error))


@contextlib.contextmanager
def _reported_if_slow(text: str, is_quiet: bool) -> Iterator[None]:
    """Print what keeps the user waiting, once that is worth a line."""
    timer = threading.Timer(SLOW_S, print, [f"{text} ..."], {"flush": True})
    if not is_quiet:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


class _Sweep:
    """What a sweep prints and writes about its runs."""

    def __init__(self, folder: Path, entries: list[Entry], config: DictConfig) -> None:
        self.folder, self.entries = folder, entries
        self.results = Path(config.paths.results)
        self.about = {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": command(),
            "launcher": OmegaConf.select(config, "hydra.runtime.choices.hydra/launcher") or "",
        }

    def refuse(self) -> None:
        """Print why jobs cannot be run, each reason once, and end the program if that holds for all of them."""
        refused = self._failures()
        for reason, words in refused.items():
            print(f"error: {reason}{_shortened(words)}", file=sys.stderr)
        if sum(map(len, refused.values())) == len(self.entries):
            sys.exit(1)

    def tell(self) -> int:
        """Print what would be trained, and return the exit status: 1 if some jobs cannot be run."""
        tables = [folder / "runs.csv" for folder in (self.results, REFERENCE)]
        print("\n".join([*self.beginning(), *forecast(self.entries, stored_rates(tables))]))
        return int(any(entry.error for entry in self.entries))

    def beginning(self) -> Iterator[str]:
        """Yield the lines before the training: what is over already, and what will run."""
        over = [entry for entry in self.entries if entry.over()]
        if over:
            yield f"{len(over)} of {len(self.entries)} runs are over"
        missing = [e.job for e in self.entries if e.job and not e.error and e not in over]
        if missing:
            yield preview(missing, self.results / "runs")

    def ended(self, entry: Entry, ticker: Ticker) -> None:
        """Print how a run ended, and keep the reason of one that has no result for those who look from outside."""
        words, result = f" ({entry.overrides})" if entry.overrides else "", entry.over()
        if entry.run and result:
            ticker.ended(f"run {entry.run.id}{words}: {in_words(result)}")
        else:
            print(f"error: {entry.error}{words}", file=sys.stderr)
            # A disk that is full for a while ends one run, not the sweep.
            with contextlib.suppress(StoreError):
                self.write()

    def merge(self) -> None:
        """Bring the results into ``runs.csv``, and print what of other runs' results stands in the way."""
        for error in merge_runs(self.results):
            if str(error) not in self._failures():
                print(f"warning: {error}", file=sys.stderr)

    def report_failures(self) -> None:
        """End the program with which runs failed and why, and how to go on; do nothing if none did."""
        for entry in self.entries:
            if entry.over() is None and entry.error is None:
                entry.error = StoreError(f"the result of {entry.overrides or 'the run'} is gone")
        failed = self._failures()
        if not failed:
            return
        lines = [f"  {reason}{_shortened(words)}" for reason, words in failed.items()]
        lines[LISTED:] = [f"  and {len(lines) - LISTED} more reasons"] if len(lines) > LISTED else []
        print(
            f"{sum(map(len, failed.values()))} of {len(self.entries)} runs failed:",
            *lines,
            "The same command tries them again and leaves alone what is over:",
            f"  {self.about['command']}",
            sep="\n",
            file=sys.stderr,
        )
        sys.exit(1)

    def _failures(self) -> dict[str, list[str]]:
        """Return the words of the entries without a result, by the reason."""
        failed: dict[str, list[str]] = defaultdict(list)
        for entry in self.entries:
            if entry.error:
                failed[str(entry.error)].append(entry.overrides)
        return failed

    def write(self) -> None:
        """Write the manifest.

        Raises:
            StoreError: if it cannot be written.
        """
        content = manifest(self.folder.resolve(), self.results.resolve(), self.entries, **self.about)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / MANIFEST, content)
        except OSError as error:
            raise StoreError(
                f"{self.folder} cannot be written ({error}); choose another folder with paths.results=DIR"
            ) from error


def _shortened(words: Sequence[str]) -> str:
    more = f" and {len(words) - 1} more" if len(words) > 1 else ""
    return f" ({words[0]}{more})" if words[0] else ""

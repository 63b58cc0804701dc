"""What a sweep would train, and for how long, by the stored times of runs like them; nothing is started."""

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median

from jacexp.sweep.entry import Entry
from jacexp.sweep.status import duration

LISTED = 20
"""How many jobs are listed one by one."""

Rates = dict[tuple[str, str, str], float]
"""Seconds of training an image and epoch, by network, method and data set."""


def stored_rates(tables: Sequence[Path]) -> Rates:
    """Compute the median rate of the runs that are done; rows that cannot be read tell nothing.

    Args:
        tables: ``runs.csv`` of several folders, which need not be there.

    Returns:
        The rates.
    """
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for path in tables:
        with (
            suppress(OSError, UnicodeDecodeError, csv.Error),
            path.open(encoding="utf-8", newline="") as file,
        ):
            for row in csv.DictReader(file):
                with suppress(KeyError, TypeError, ValueError, ZeroDivisionError):
                    rate = float(row["train_s"]) / (int(row["n_train"]) * int(row["n_epochs"]))
                    found[row["model"], row["method"], row["dataset"]].append(rate)
    return {like: median(rates) for like, rates in found.items()}


def seconds(entry: Entry, rates: Rates) -> float | None:
    """Estimate how long the training of an entry still takes; None where no run like it is stored."""
    if entry.job is None:
        return None
    cfg = entry.job.cfg
    rate = rates.get((cfg.model.name, cfg.method.name, cfg.dataset.name))
    return None if rate is None else rate * entry.job.counts[0] * max(0, entry.epochs - entry.before)


def forecast(entries: Sequence[Entry], rates: Rates) -> Iterator[str]:
    """Yield the lines that tell what is to be trained, each run once.

    Args:
        entries: of a sweep.
        rates: see `stored_rates`.

    Yields:
        A line a job, for the first ones, and one for all.
    """
    different = {entry.run.path: entry for entry in entries if entry.run}
    missing = [entry for entry in different.values() if not entry.over() and not entry.error]
    times = [seconds(entry, rates) for entry in missing]
    for entry, time in list(zip(missing, times, strict=True))[:LISTED]:
        length = "of unknown length" if time is None else f"about {duration(time)}"
        yield f"  run {entry.run.id if entry.run else '-'}{entry.overrides and f' ({entry.overrides})'}: {length}"
    if len(missing) > LISTED:
        yield f"  and {len(missing) - LISTED} more"
    known = [time for time in times if time is not None]
    n_over, n_wrong = sum(e.over() is not None for e in entries), sum(e.error is not None for e in entries)
    parts = [
        f"{len(missing)} run{'s' * (len(missing) != 1)} to train",
        f"{n_over} of {len(entries)} jobs are over",
    ]
    parts += [f"{n_wrong} cannot be run"] if n_wrong else []
    if known:
        parts.append(f"about {duration(sum(known))} one after another, by the stored times of runs like them")
    if len(known) < len(missing):
        parts.append(f"{len(missing) - len(known)} of unknown length")
    yield "; ".join([*parts, "nothing was started"])

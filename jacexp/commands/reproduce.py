"""Train what the papers' tables lack: jacexp reproduce [--table p2-table1] [--method spec] [...].

--table, --method, --dataset   names, or several joined by commas: p1-table1, p2-table1, p1-figure4; spec; mnist
--hours N                      take the runs in the order of what they decide, and stop after so many hours
--launcher NAME                how each sweep is run: sequential (default), fused, processes, submitit_slurm or ray
hydra.launcher.KEY=VALUE       a setting of the launcher, for example hydra.launcher.n_jobs=4
--dry                          print the plan and train nothing
paths.results=DIR              where runs go, and the results that are read, alone; by default yours and the reference's
reference=true                 read the reference results beside that folder
select=holdout|paper           what hyper-parameters are selected on

The plan names each sweep with the number of its runs that neither the reference results nor yours have. The sweeps run
one after another; one that fails is reported at the end. Ctrl-C, SIGTERM or the end of the hours goes to the running
sweep, which saves; start again to go on.
"""

import argparse
import math
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import NamedTuple

from jacexp.arguments import Parser
from jacexp.errors import ConfigError
from jacexp.report.arguments import Arguments, parse
from jacexp.report.beside import read_results
from jacexp.report.schedule import Batch, schedule
from jacexp.report.scorecard import scores
from jacexp.report.select import Selection
from jacexp.report.sweeps import Sweep, narrowed, sweeps
from jacexp.store.folders import OWN

TRAIN = (sys.executable, "-m", "jacexp", "train")
"""What ``python train.py`` stands for in the plan's commands."""

LAUNCHERS = ("sequential", "fused", "processes", "joblib", "submitit_local", "submitit_slurm", "ray")
"""What ``hydra/launcher=`` may be; asking Hydra takes seconds."""

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


N_SHOWN = 20
"""Commands that are shown before an hour is over, where it is unknown how long they take."""

OF_MAKE = {
    **{name.upper(): f"--{name} {{}}" for name in ("table", "method", "dataset", "launcher", "hours")},
    "DRY": "--dry",
    "RESULTS": "paths.results={}",
    "ARGS": "{}",
}
"""What the variables of ``make reproduce-runs`` are called here."""

Plan = Sequence[tuple[Sweep | Batch, str]]
"""What is trained, each with its command for this folder of results and launcher."""


def plan(given: argparse.Namespace, arguments: Arguments, launcher: Sequence[str] = ()) -> Plan:
    """List what has runs to train: whole sweeps, or with ``--hours`` parts of them in the order of what they decide."""
    selection = Selection(
        read_results(arguments.results, arguments.reference, may_be_empty=True), arguments.select
    )
    names = {"table": given.table, "method": given.method, "dataset": given.dataset}
    found: Sequence[Sweep | Batch]
    if given.hours is None:
        lacking = [sweep for sweep in narrowed(sweeps(selection), **names) if sweep.n_missing]
        found = [part for sweep in lacking for part in parts(sweep)]
    else:
        batches = schedule(selection, scores(selection))
        found = narrowed(batches, **names) if batches else []
    elsewhere = [] if arguments.results == OWN else [f"paths.results={arguments.results}"]
    words = shlex.join([*elsewhere, *launcher])
    return [(item, _with(item.command, words)) for item in found]


def parts(sweep: Sweep) -> list[Sweep]:
    """Split a sweep that would train stored runs again, such as those of the reference, into what is missing alone."""
    return [replace(sweep, command=c, n_missing=n) for c, n in sweep.exact] or [sweep]


def _with(command: str, words: str) -> str:
    return " ".join(filter(None, [command.removesuffix(" -m"), words, "-m"]))


def describe(planned: Plan, hours: float | None = None) -> str:
    """Write the plan: what is missing, how many runs, which command; with hours, how far they are expected to reach."""
    if not planned:
        return "nothing to do: every run is stored"
    lines: list[str] = []
    spent, unknown = 0.0, 0
    for item, command in planned:
        if hours is not None and (spent >= hours or len(lines) == 2 * N_SHOWN):
            break
        lines += [_line(item), f"  {command}"]
        spent += item.hours or 0.0 if isinstance(item, Batch) else 0.0
        unknown += isinstance(item, Batch) and item.hours is None
    if hours is not None:
        lines.append(f"{hours:g} hours, of which the runs above are expected to take {spent:.1f}")
        lines[-1] += f", and {unknown} commands an unknown time" if unknown else ""
        later = len(planned) - len(lines) // 2
        return "\n".join([*lines, f"{later} more commands come after them"] if later else lines)
    total = sum(item.n_missing for item, _ in planned)
    return "\n".join([*lines, f"{total} runs in {len(planned)} sweeps"])


def _line(item: Sweep | Batch) -> str:
    if isinstance(item, Batch):
        long = "of unknown length" if item.hours is None else f"about {item.hours:.1f} hours"
        return f"{item.what}: {item.n_missing} runs, {long}, for {', '.join(item.decides)}"
    return f"{item.what} ({item.table}): {item.n_missing} of {item.n_runs} runs"


class Ended(NamedTuple):
    """How a command ended."""

    status: int
    signum: int | None
    """Of the first signal that came meanwhile."""
    is_late: bool
    """Whether it was told to stop because the hours were over."""


def replanned(make_plan: Callable[[], Plan]) -> Iterator[tuple[Sweep | Batch, str]]:
    """Yield what comes first in a plan that is made anew each time, for a search decides which setting goes on."""
    begun: set[str] = set()
    while following := [(item, command) for item, command in make_plan() if command not in begun]:
        begun.add(following[0][1])
        yield following[0]


def run_all(
    planned: Iterable[tuple[Sweep | Batch, str]], n: int, train: Sequence[str], hours: float | None = None
) -> int:
    """Run one command after another, whatever becomes of each.

    Args:
        planned: the commands.
        n: how many they are.
        train: stands in the place of python train.py.
        hours: after which the command that runs is told to stop.

    Returns:
        The exit status: 0, also at the end of the hours; 1 if a sweep failed; 128 and the signal's number after one.
    """
    failed, until = [], math.inf if hours is None else time.monotonic() + 3600 * hours
    for number, (item, command) in enumerate(planned, start=1):
        print(f"\n[{number}/{n}] {command}", flush=True)
        status, signum, is_late = run([*train, *shlex.split(command)[2:]], until)
        if signum:
            print(f"\nstopped at {item.what}; start again to go on", file=sys.stderr)
            return 128 + signum
        if is_late:
            print(f"\nthe hours are over at {item.what}; start again to go on", file=sys.stderr)
            break
        if status:
            failed.append(f"  {item.what}: exit status {status}\n    {command}")
    if failed:
        print(f"\n{len(failed)} of {n} sweeps failed:", *failed, sep="\n", file=sys.stderr)
    return int(bool(failed))


def run(command: Sequence[str], until: float = math.inf) -> Ended:
    """Run a command, hand signals on to it, and wait until it has ended.

    It has a process group of its own, because a terminal's Ctrl-C would otherwise reach it twice.

    Args:
        command: its words.
        until: when, on the monotonic clock, it is told to stop.
    """
    came: list[int] = []
    children: list[subprocess.Popen[bytes]] = []

    def hand_on(number: int, _: FrameType | None) -> None:
        came.append(number)
        for child in children:
            child.send_signal(number)

    with _handled(hand_on), subprocess.Popen(command, process_group=0) as child:
        for number in came:  # before there was a child
            child.send_signal(number)
        children.append(child)
        is_late = False
        try:
            status = child.wait(None if until == math.inf else max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            is_late = True
            child.send_signal(signal.SIGTERM)
            status = child.wait()
    return Ended(status, came[0] if came else None, is_late)


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in STOPPING}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def positive(text: str) -> float:
    """Read a number of hours for argparse."""
    hours = float(text)
    if not 0 < hours < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no number of hours above 0")
    return hours


def evaluations(planned: Plan, arguments: Arguments) -> list[str]:
    """List the commands that evaluate what a plan trains, for the rows of the scorecard that it decides."""
    wanted = {id_ for item, _ in planned if isinstance(item, Batch) for id_ in item.decides}
    selection = Selection(
        read_results(arguments.results, arguments.reference, may_be_empty=True), arguments.select
    )
    all_of_them = [c for score in scores(selection) if score.id in wanted for c in score.commands]
    return list(dict.fromkeys(c for c in all_of_them if "evaluate.py" in c))


def main(words: Sequence[str], train: Sequence[str] = TRAIN) -> int:
    """Print the plan and carry it out.

    Returns:
        The exit status, as `run_all` gives it; 0 if there is nothing to do.
    """
    parser = Parser(
        prog="jacexp reproduce",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name in ("table", "method", "dataset"):
        parser.add_argument(f"--{name}", default="", metavar="NAME")
    parser.add_argument("--hours", type=positive, metavar="N")
    parser.add_argument("--launcher", choices=LAUNCHERS)
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE")
    given = parser.parse_intermixed_args(words)
    for word in given.words:
        name, _, value = word.partition("=")
        if name in OF_MAKE:
            raise ConfigError(
                f"{name}= is a variable of make reproduce-runs; here it is {OF_MAKE[name].format(value)}"
            )
    launcher = [word for word in given.words if word.startswith("hydra.launcher.")]
    arguments = parse([word for word in given.words if word not in launcher])
    if given.launcher:
        launcher.insert(0, f"hydra/launcher={given.launcher}")
    planned = plan(given, arguments, launcher)
    print(describe(planned, given.hours))
    if given.dry:
        return 0
    if given.hours is None:
        return run_all(planned, len(planned), train)
    status = run_all(replanned(lambda: plan(given, arguments, launcher)), len(planned), train, given.hours)
    if planned:
        print(
            "\nThen evaluate the networks, and make the tables:", *evaluations(planned, arguments), sep="\n  "
        )
        print("  make reproduce-tables")
    return status

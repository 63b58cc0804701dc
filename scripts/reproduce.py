"""Train what the papers' tables lack: python scripts/reproduce.py [--table p2-table1] [--method spec] [...].

--table, --method, --dataset   names, or several joined by commas: p1-table1, p2-table1, p1-figure4; spec; mnist
--launcher NAME                how each sweep is run: sequential (default), fused, joblib, submitit_slurm or ray
hydra.launcher.KEY=VALUE       a setting of the launcher, for example hydra.launcher.n_jobs=4
--dry-run                      print the plan and train nothing
paths.results=DIR              the results, and where runs go
select=holdout|paper           what hyper-parameters are selected on

The plan names each sweep with the number of its runs that results/runs.csv lacks. The sweeps run one after another; one
that fails is reported at the end. Ctrl-C or SIGTERM goes to the running sweep, which saves; start again to go on.
"""

import argparse
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout, whatever else is installed

from jacexp.arguments import Parser, run_script
from jacexp.report.arguments import Arguments, parse
from jacexp.report.plan import Sweep, narrowed, sweeps
from jacexp.report.schema import read_store
from jacexp.report.select import Selection

TRAIN = (sys.executable, str(Path(__file__).parents[1] / "train.py"))
"""What ``python train.py`` stands for in the plan's commands."""

LAUNCHERS = ("sequential", "fused", "joblib", "submitit_local", "submitit_slurm", "ray")
"""What ``hydra/launcher=`` may be; asking Hydra takes seconds."""

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def plan(
    arguments: Arguments, table: str, method: str, dataset: str, launcher: Sequence[str] = ()
) -> list[tuple[Sweep, str]]:
    """List the sweeps that have runs to train, each with its command for this folder of results and launcher."""
    selection = Selection(read_store(arguments.results, may_be_empty=True), arguments.select)
    chosen = narrowed(sweeps(selection), table=table, method=method, dataset=dataset)
    elsewhere = [] if arguments.results == Path("results") else [f"paths.results={arguments.results}"]
    words = shlex.join([*elsewhere, *launcher])
    return [(sweep, _with(sweep.command, words)) for sweep in chosen if sweep.n_missing]


def _with(command: str, words: str) -> str:
    return " ".join(filter(None, [command.removesuffix(" -m"), words, "-m"]))


def describe(planned: Sequence[tuple[Sweep, str]]) -> str:
    """Write the plan: what is missing, how many runs, which command."""
    if not planned:
        return "nothing to do: every run is stored"
    lines = []
    for sweep, command in planned:
        again = (
            f"; {sweep.n_again} stored without their directories are trained again" if sweep.n_again else ""
        )
        lines.append(f"{sweep.what} ({sweep.table}): {sweep.n_missing} of {sweep.n_runs} runs{again}")
        lines.append(f"  {command}")
    total = sum(sweep.n_missing + sweep.n_again for sweep, _ in planned)
    return "\n".join([*lines, f"{total} runs in {len(planned)} sweeps"])


class Stopped(Exception):
    """A signal came, and the sweep that was running has ended."""

    def __init__(self, number: int) -> None:
        self.number = number


def run_all(planned: Sequence[tuple[Sweep, str]], train: Sequence[str]) -> int:
    """Run one command after another, whatever becomes of each; ``train`` stands in the place of python train.py.

    Returns:
        The exit status: 0; 1 if a sweep failed; 128 and the signal's number after a signal.
    """
    failed = []
    for number, (sweep, command) in enumerate(planned, start=1):
        print(f"\n[{number}/{len(planned)}] {command}", flush=True)
        try:
            status = run([*train, *shlex.split(command)[2:]])
        except Stopped as stopped:
            print(f"\nstopped at {sweep.what}; start again to go on", file=sys.stderr)
            return 128 + stopped.number
        if status:
            failed.append(f"  {sweep.what}: exit status {status}\n    {command}")
    if failed:
        print(f"\n{len(failed)} of {len(planned)} sweeps failed:", *failed, sep="\n", file=sys.stderr)
    return int(bool(failed))


def run(command: Sequence[str]) -> int:
    """Run a command, hand signals on to it, and wait until it has ended; its exit status, or Stopped after a signal.

    It has a process group of its own, because a terminal's Ctrl-C would otherwise reach it twice.
    """
    came: list[int] = []
    children: list[subprocess.Popen[bytes]] = []

    def hand_on(number: int, _: FrameType | None) -> None:
        came.append(number)
        for child in children:
            child.send_signal(number)

    before = {number: signal.signal(number, hand_on) for number in STOPPING}
    try:
        with subprocess.Popen(command, process_group=0) as child:
            for number in came:  # before there was a child
                child.send_signal(number)
            children.append(child)
            status = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise Stopped(came[0])
    return status


def main(words: Sequence[str], train: Sequence[str] = TRAIN) -> int:
    """Print the plan and carry it out.

    Returns:
        The exit status, as `run_all` gives it; 0 if there is nothing to do.
    """
    parser = Parser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("table", "method", "dataset"):
        parser.add_argument(f"--{name}", default="", metavar="NAME")
    parser.add_argument("--launcher", choices=LAUNCHERS)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE")
    given = parser.parse_intermixed_args(words)
    launcher = [word for word in given.words if word.startswith("hydra.launcher.")]
    arguments = parse([word for word in given.words if word not in launcher])
    if given.launcher:
        launcher.insert(0, f"hydra/launcher={given.launcher}")
    planned = plan(arguments, given.table, given.method, given.dataset, launcher)
    print(describe(planned))
    return 0 if given.dry_run else run_all(planned, train)


if __name__ == "__main__":
    run_script(main)

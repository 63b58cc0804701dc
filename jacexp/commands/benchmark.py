"""Time what the papers time: `jacexp benchmark step --help`. Ratios, never seconds alone.

step: one training step, forward and the gradients of all parameters (no optimiser on either side of a ratio), of
every method, network, batch size and engine, against a plain step in bare PyTorch. Beside them the analytical norm (C
backward passes, then the singular values) and the Frobenius norm as users of jacobian_regularizer write it.
That is Johansson et al., Figure 5 left, and the time column of Demyanov et al., Table 1.

lightning: an epoch of plain LeNet training as a run does it, against a bare PyTorch loop with the same batches.

sweep: steps of networks a second of LeNets one after another, in several processes, and fused.

profile: where the time of a fused step goes.
"""

import argparse
import itertools
import json
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from jacexp.arguments import Parser
from jacexp.benchmark.lightning import lightning_overhead
from jacexp.benchmark.profiling import profile_stack
from jacexp.benchmark.steps import ENGINES, IMAGES, METHODS, MODULES, Case, measure, table, timing_row
from jacexp.benchmark.sweeps import modes, network_steps_per_second
from jacexp.errors import ConfigError
from jacexp.report.schema import read_table
from jacexp.store.folders import OWN
from jacexp.store.provenance import provenance
from jacexp.store.tables import TIMING, append_rows

NUMBERS = ("repetitions", "threads", "steps", "batch_size", "batch_sizes", "networks", "n_jobs")


def check(arguments: argparse.Namespace) -> None:
    """Refuse what cannot be timed, and files that cannot be written afterwards.

    Raises:
        ConfigError: for a number below 1, a device that is not there, or a folder that cannot be written.
    """
    for name in NUMBERS:
        given = getattr(arguments, name, None)
        for value in given if isinstance(given, list) else [given]:
            if isinstance(value, int) and value < 1:
                raise ConfigError(f"--{name.replace('_', '-')} {value} cannot be timed: choose 1 or more")
    if getattr(arguments, "warmup", 0) < 0:
        raise ConfigError(f"--warmup {arguments.warmup} is no number of repetitions: choose 0 or more")
    device = getattr(arguments, "device", "cpu")
    if re.fullmatch(r"cpu|cuda(:\d+)?", device) is None:
        raise ConfigError(f"--device {device} is unknown; choose cpu or cuda")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"--device {device}, but PyTorch sees no GPU here; leave it at cpu")
    if arguments.out and not arguments.out.parent.is_dir():
        raise ConfigError(f"--out {arguments.out}: there is no folder {arguments.out.parent}; make it first")
    results = getattr(arguments, "results", None)
    if results:
        if results.exists() and not results.is_dir():
            raise ConfigError(f"--results {results} is no folder")
        if (results / "timing.csv").exists():
            read_table(results / "timing.csv", TIMING)


def run_step(arguments: argparse.Namespace) -> None:
    """Time the steps, print the table, write both files."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    rows = []
    for network in arguments.networks:
        for batch_size in arguments.batch_sizes:
            case = Case.make(network, batch_size, torch.device(arguments.device))
            rows += measure(
                case,
                case.steps(arguments.methods, arguments.engines),
                repetitions=arguments.repetitions,
                warmup=arguments.warmup,
                memory=arguments.memory,
            )
    report = {**provenance(arguments.device), "repetitions": arguments.repetitions}
    text = "\n".join(f"{key}: {value}  " for key, value in report.items()) + f"\n\n{table(rows)}\n"
    print(text)
    append_rows(arguments.results / "timing.csv", [timing_row(row, report) for row in rows], TIMING)
    if arguments.out:
        arguments.out.with_suffix(".json").write_text(json.dumps({**report, "steps": rows}, indent=1) + "\n")
        arguments.out.with_suffix(".md").write_text(text)


def add_step(commands: Any) -> None:
    """Describe the arguments of ``step``."""
    step = commands.add_parser("step", help="one training step of every method, against a plain one")
    step.add_argument("--networks", nargs="+", choices=IMAGES, default=["lenet", "convnet_mnist"])
    step.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    step.add_argument("--engines", nargs="+", choices=ENGINES, default=["pytorch", "autograd", "passes"])
    step.add_argument("--batch-sizes", nargs="+", type=int, default=[32])
    step.add_argument(
        "--repetitions", type=int, default=30, help="in each of which all steps take their turn"
    )
    step.add_argument("--warmup", type=int, default=3, help="repetitions before, that are not counted")
    step.add_argument("--threads", type=int, help="of the CPU (default: PyTorch's)")
    step.add_argument("--device", default="cpu")
    step.add_argument("--memory", action="store_true", help="measure each step's peak of tensor memory too")
    step.add_argument("--out", type=Path, help="write NAME.json and NAME.md", metavar="NAME")
    step.add_argument(
        "--results",
        type=Path,
        default=OWN,
        help="append to DIR/timing.csv, which the figures read (default: my_results)",
        metavar="DIR",
    )
    step.set_defaults(run=run_step)


def run_lightning(arguments: argparse.Namespace) -> None:
    """Time Lightning against a bare loop, print the result and write it."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    measured = lightning_overhead(
        arguments.steps, arguments.batch_size, arguments.repetitions, arguments.device
    )
    text = json.dumps({**provenance(arguments.device), **measured}, indent=1)
    print(text)
    if arguments.out:
        arguments.out.with_suffix(".json").write_text(text + "\n")


def add_lightning(commands: Any) -> None:
    """Describe the arguments of ``lightning``."""
    lightning = commands.add_parser(
        "lightning", help="plain LeNet training by Lightning, against a bare loop"
    )
    lightning.add_argument("--steps", type=int, default=500, help="of an epoch")
    lightning.add_argument("--batch-size", type=int, default=32)
    lightning.add_argument("--repetitions", type=int, default=7, help="in each of which both take their turn")
    lightning.add_argument("--threads", type=int, help="of the CPU (default: PyTorch's)")
    lightning.add_argument("--device", default="cpu")
    lightning.add_argument("--out", type=Path, help="write NAME.json", metavar="NAME")
    lightning.set_defaults(run=run_lightning)


def run_sweep(arguments: argparse.Namespace) -> None:
    """Time sweeps in all modes in turn, print their throughputs and ratios, and write them."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    rows = []
    for method, n in itertools.product(arguments.methods, arguments.networks):
        rates: dict[str, list[float]] = {name: [] for name in modes(arguments.n_jobs)}
        for _ in range(arguments.repetitions):
            for name, (executor, fuse) in modes(arguments.n_jobs).items():
                about = {"n_networks": n, "n_steps": arguments.steps, "batch_size": arguments.batch_size}
                rates[name].append(network_steps_per_second(executor, fuse=fuse, method=method, **about))
        for name, of_mode in rates.items():
            ratio = statistics.median(a / b for a, b in zip(of_mode, rates["sequential"], strict=True))
            rows.append(
                {"method": method, **about, "mode": name, "steps_per_s": of_mode, "to_sequential": ratio}
            )
            print(f"{method}, {n} networks, {name}: {statistics.median(of_mode):.0f} steps/s, x {ratio:.2f}")
    if arguments.out:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        text = json.dumps({**provenance(device), "rows": rows}, indent=1)
        arguments.out.with_suffix(".json").write_text(text + "\n")


def add_sweep(commands: Any) -> None:
    """Describe the arguments of ``sweep``."""
    sweep = commands.add_parser("sweep", help="steps of networks a second, fused and otherwise")
    sweep.add_argument("--methods", nargs="+", choices=("none", *MODULES), default=["spec", "none"])
    sweep.add_argument("--networks", nargs="+", type=int, default=[1, 8, 32], help="runs of the sweep")
    sweep.add_argument("--steps", type=int, default=200, help="of each network")
    sweep.add_argument("--batch-size", type=int, default=16)
    sweep.add_argument(
        "--repetitions", type=int, default=3, help="in each of which every mode takes its turn"
    )
    sweep.add_argument("--n-jobs", type=int, default=2, help="processes of the modes that have several")
    sweep.add_argument("--threads", type=int, default=1, help="of the CPU in the modes with one process")
    sweep.add_argument("--out", type=Path, help="write NAME.json", metavar="NAME")
    sweep.set_defaults(run=run_sweep)


def run_profile(arguments: argparse.Namespace) -> None:
    """Profile the steps of a stack, print where their time goes, and write it."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    found = profile_stack(arguments.method, arguments.networks, arguments.steps, arguments.batch_size, device)
    print(
        f"{found['ms_per_network_step']:.3f} ms a network and step; {found['ms_per_step']:.2f} ms a step of all"
    )
    for row in found["operations"]:
        print(f"{row['share']:6.1%}  {row['calls']:7.1f} calls a step  {row['name']}")
    if arguments.out:
        text = json.dumps({**provenance(arguments.device), **found}, indent=1)
        arguments.out.with_suffix(".json").write_text(text + "\n")


def add_profile(commands: Any) -> None:
    """Describe the arguments of ``profile``."""
    profile = commands.add_parser("profile", help="where a fused step's time goes, operation by operation")
    profile.add_argument("--method", choices=("none", *MODULES), default="spec")
    profile.add_argument("--networks", type=int, default=8, help="LeNets of the stack")
    profile.add_argument("--steps", type=int, default=30, help="that are profiled")
    profile.add_argument("--batch-size", type=int, default=16)
    profile.add_argument("--threads", type=int, default=1, help="of the CPU")
    profile.add_argument("--device", default="cpu")
    profile.add_argument("--out", type=Path, help="write NAME.json", metavar="NAME")
    profile.set_defaults(run=run_profile)


def main(words: Sequence[str]) -> int:
    """Run one of the benchmarks."""
    parser = Parser(
        prog="jacexp benchmark", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="step|lightning|sweep|profile")
    add_step(commands)
    add_lightning(commands)
    add_sweep(commands)
    add_profile(commands)
    arguments = parser.parse_args(words)
    check(arguments)
    arguments.run(arguments)
    return 0

"""Time what the papers time: `python scripts/benchmark.py step --help`. Ratios, never seconds alone.

step: one training step, forward and the gradients of all parameters (no optimiser on either side of a ratio), of
every method, network, batch size and engine, against a plain step in bare PyTorch. Beside them the analytical norm (C
backward passes, then the singular values) and the Frobenius norm as users of jacobian_regularizer write it.
That is Johansson et al., Figure 5 left, and the time column of Demyanov et al., Table 1.

lightning: an epoch of plain LeNet training as a run does it, against a bare PyTorch loop with the same batches.

sweep: steps of networks a second of LeNets one after another, in several processes, and fused.
"""

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.profiler import ProfilerActivity, profile

from jacexp.columns import PROVENANCE, TIMING
from jacexp.data import Batch
from jacexp.errors import ConfigError, JacexpError
from jacexp.jacobian.cost import METHODS as COUNTED
from jacexp.jacobian.cost import floor, layers_of
from jacexp.jacobian.explicit import Objective, explicit_loss, value_and_grads
from jacexp.jacobian.norms import sphere_like
from jacexp.jacobian.objectives import Plain
from jacexp.methods import at, fast_at, fast_tbp, frob, l2, loss_ibp, pred_ibp, spec, spec_bound, tbp
from jacexp.methods.base import RegularizedModule
from jacexp.methods.draws import Noise
from jacexp.models import Network, build
from jacexp.random import make_generator
from jacexp.store import append_rows, provenance
from jacexp.train.overhead import lightning_overhead
from jacexp.train.throughput import modes, network_steps_per_second

IMAGES = {
    "lenet": (1, 28, 28),
    "convnet_mnist": (1, 28, 28),
    "convnet_cifar": (3, 32, 32),
    "vgg16_bn": (3, 32, 32),
}
N_CLASSES, N_TANGENTS, STRENGTH = 10, 5, 0.01
STRENGTHS = {
    "at": "epsilon",
    "fast_at": "epsilon",
    "spec": "lam",
    "frob": "lam",
    "spec_bound": "lam",
    "l2": "lam",
}

MODULES: dict[str, type[RegularizedModule]] = {
    "spec": spec.SpectralNorm,
    "frob": frob.FrobeniusNorm,
    "spec_bound": spec_bound.SpectralBound,
    "l2": l2.L2,
    "loss_ibp": loss_ibp.LossIBP,
    "pred_ibp": pred_ibp.PredictionIBP,
    "at": at.AdversarialTraining,
    "fast_at": fast_at.FastAdversarialTraining,
    "tbp": tbp.TangentBP,
    "fast_tbp": fast_tbp.FastTangentBP,
}
METHODS = ("none", *MODULES, "analytical", "jacobian_regularizer")
ENGINES = ("pytorch", "autograd", "passes", "compiled")

Step = Callable[[], object]


class Case(NamedTuple):
    """A network and a batch of random images."""

    network: str
    net: Network
    batch: Batch

    @classmethod
    def make(cls, network: str, batch_size: int, device: torch.device) -> "Case":
        """Draw a batch in [0, 1] with its labels and tangents."""
        shape, g = IMAGES[network], make_generator(0, "benchmark")
        ones = torch.ones(shape[0], 1, 1)
        net = build(network, in_shape=shape, n_classes=N_CLASSES, mean=ones / 2, std=ones / 4, seed=0).to(
            device
        )
        x = torch.rand(batch_size, *shape, generator=g)
        y = torch.randint(N_CLASSES, (batch_size,), generator=g)
        t = torch.randn(batch_size, N_TANGENTS, *shape, generator=g)
        return cls(network, net, Batch(x.to(device), y.to(device), t.to(device)))

    def steps(self, methods: list[str], engines: list[str]) -> dict[tuple[str, str], Step]:
        """Give a step for each method and engine that has one; plain PyTorch is always there."""
        steps: dict[tuple[str, str], Step] = {("none", "pytorch"): self.step(self.plain)}
        bare = {"analytical": self.analytical, "jacobian_regularizer": self.jacobian_regularizer}
        for method in methods:
            if method in bare and "pytorch" in engines:
                steps[method, "pytorch"] = self.step(bare[method])
            if method == "none" and "passes" in engines:
                steps[method, "passes"] = self.step(lambda: self.explicit(Plain()))
            if method not in MODULES:
                continue
            modules = {engine: self.module(method, engine) for engine in ("autograd", "passes")}
            noise = modules["passes"].draw(self.batch.x, make_generator(0, device=self.batch.x.device))
            objective = modules["passes"].objective(self.batch, noise)
            for engine in modules if objective else ["autograd"]:
                if engine in engines:
                    steps[method, engine] = self.step(partial(loss_of, modules[engine], self.batch, noise))
            if objective and "compiled" in engines:
                compiled = torch.compile(partial(value_and_grads, objective=objective))
                x = self.net.normalize(self.batch.x)
                steps[method, "compiled"] = partial(compiled, self.net.body, x, self.batch.y)
        return steps

    def step(self, loss: Callable[[], Tensor]) -> Step:
        """Give the step of a loss: old gradients away, forward, backward."""

        def run() -> None:
            self.net.zero_grad(set_to_none=True)
            loss().backward()

        return run

    def module(self, method: str, engine: str) -> RegularizedModule:
        """Make a method's module, as it would be trained."""
        settings: dict[str, Any] = {str(MODULES[method].strength): STRENGTH, "engine": engine}
        return MODULES[method](self.net, **settings)

    def plain(self) -> Tensor:
        """mean(CE)."""
        return cross_entropy(self.net(self.batch.x), self.batch.y)

    def explicit(self, objective: Objective) -> Tensor:
        """The loss by explicit passes."""
        return explicit_loss(self.net.body, self.net.normalize(self.batch.x), self.batch.y, objective).loss

    def analytical(self) -> Tensor:
        """CE + lam · σ₁, with all C rows of J and their singular values (Johansson et al., A.3)."""
        x = self.net.normalize(self.batch.x).requires_grad_()
        z = self.net.body(x)
        rows = [torch.autograd.grad(z_c.sum(), x, create_graph=True)[0].flatten(1) for z_c in z.unbind(1)]
        sigma = torch.linalg.svdvals(torch.stack(rows, dim=1))[:, 0]
        return cross_entropy(z, self.batch.y) + STRENGTH * sigma.mean()

    def jacobian_regularizer(self) -> Tensor:
        """CE + lam · ½ C ‖Jᵀu‖² by double backward (Hoffman et al. 2019)."""
        x = self.net.normalize(self.batch.x).requires_grad_()
        z = self.net.body(x)
        (u,) = sphere_like(z, 1, make_generator(0, device=x.device))
        (Ju,) = torch.autograd.grad(z, x, u, create_graph=True)
        return cross_entropy(z, self.batch.y) + STRENGTH * N_CLASSES * Ju.square().sum() / len(x) / 2


def loss_of(module: RegularizedModule, batch: Batch, noise: Noise) -> Tensor:
    """Give the loss that a module trains on."""
    return module.terms(batch, noise).loss


def run_step(arguments: argparse.Namespace) -> None:
    """Time the steps, print the table, write both files.

    Raises:
        ConfigError: for a number that cannot be timed.
    """
    for value in (arguments.repetitions, arguments.threads, *arguments.batch_sizes):
        if value is not None and value < 1:
            raise ConfigError(f"{value} repetitions, threads or images cannot be timed: choose 1 or more")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    rows = []
    for network in arguments.networks:
        for batch_size in arguments.batch_sizes:
            case = Case.make(network, batch_size, torch.device(arguments.device))
            rows += measure(case, case.steps(arguments.methods, arguments.engines), arguments)
    report = {**provenance(arguments.device), "repetitions": arguments.repetitions}
    text = "\n".join(f"{key}: {value}  " for key, value in report.items()) + f"\n\n{table(rows)}\n"
    print(text)
    if arguments.results:
        stored = [timing_row(row, report) for row in rows]
        append_rows(arguments.results / "timing.csv", stored, TIMING)
    if arguments.out:
        arguments.out.with_suffix(".json").write_text(json.dumps({**report, "steps": rows}, indent=1) + "\n")
        arguments.out.with_suffix(".md").write_text(text)


def timing_row(row: dict[str, Any], report: dict[str, Any]) -> dict[str, Any]:
    """Give a measured step as a row of ``timing.csv``."""
    memory = row.get("peak_mib")
    return {
        "name": "step",
        "model": row["network"],
        **{column: row[column] for column in ("method", "engine", "batch_size", "ratio", "floor")},
        "n_networks": 1,
        "seconds": row["ms"] / 1e3,
        "memory_mb": None if memory is None else memory * 2**20 / 1e6,
        "threads": torch.get_num_threads(),
        "n_repeats": report["repetitions"],
        **{column: report[column] for column in PROVENANCE},
    }


def measure(
    case: Case, steps: dict[tuple[str, str], Step], arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    """Time steps in turns, so that what slows the machine down meanwhile slows all of them; a row a step."""
    times: dict[tuple[str, str], list[float]] = {key: [] for key in steps}
    for repetition in range(arguments.warmup + arguments.repetitions):
        for key, step in steps.items():
            seconds = clock(step, case.batch.x.device)
            if repetition >= arguments.warmup:
                times[key].append(seconds)
    medians = {key: statistics.median(seconds) for key, seconds in times.items()}
    layers = layers_of(case.net.body, case.net.normalize(case.batch.x[:2]))
    rows = []
    for (method, engine), seconds in medians.items():
        row: dict[str, Any] = {
            "network": case.network,
            "batch_size": len(case.batch.x),
            "method": method,
            "engine": engine,
            "ms": 1e3 * seconds,
            "fastest_ms": 1e3 * min(times[method, engine]),
            "ratio": seconds / medians["none", "pytorch"],
            "floor": floor(method, layers, n_tangents=N_TANGENTS) if method in COUNTED else None,
        }
        if arguments.memory:
            row["peak_mib"] = peak_memory(steps[method, engine], case.batch.x.device) / 2**20
        rows.append(row)
    return rows


def clock(step: Step, device: torch.device) -> float:
    """Time one step in seconds."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def peak_memory(step: Step, device: torch.device) -> int:
    """Measure the largest number of bytes that a step holds in tensors at once, beyond what was there before."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    held = peak = 0
    for event in sorted(profiler.profiler.kineto_results.events(), key=lambda e: e.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def table(rows: list[dict[str, Any]]) -> str:
    """Write the rows as markdown, the floor beside each ratio."""
    columns = {
        "network": "",
        "batch_size": "",
        "method": "",
        "engine": "",
        "ms": ".2f",
        "ratio": ".2f",
        "floor": ".2f",
    }
    if rows and "peak_mib" in rows[0]:
        columns["peak_mib"] = ".1f"
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for row in rows:
        cells = ["" if row[name] is None else format(row[name], spec) for name, spec in columns.items()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


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
        "--results", type=Path, help="append to DIR/timing.csv, which the figures read", metavar="DIR"
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


def main() -> int:
    """Run one of the benchmarks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    add_step(commands)
    add_lightning(commands)
    add_sweep(commands)
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except JacexpError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

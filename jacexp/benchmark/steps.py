"""One training step of every method, network, batch size and engine, in turns, against a plain step."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from omegaconf import OmegaConf
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.profiler import ProfilerActivity, profile

from jacexp.benchmark.cost import METHODS as COUNTED
from jacexp.benchmark.cost import floor, layers_of
from jacexp.data.spec import Batch
from jacexp.jacobian.norms import sphere_like
from jacexp.jacobian.step import PLAIN, Objective, explicit_loss, value_and_grads
from jacexp.methods.draws import Draw
from jacexp.methods.method import Method
from jacexp.models.architectures import build
from jacexp.models.network import Network
from jacexp.random import make_generator
from jacexp.store.tables import PROVENANCE
from jacexp.train.config import METHODS as FILES
from jacexp.train.job import method_class

IMAGES = {
    "lenet": (1, 28, 28),
    "convnet_mnist": (1, 28, 28),
    "convnet_cifar": (3, 32, 32),
    "vgg16_bn": (3, 32, 32),
}
N_CLASSES, N_TANGENTS, STRENGTH = 10, 5, 0.01

MODULES: dict[str, type[Method]] = {
    path.stem: method_class(OmegaConf.create({"method": OmegaConf.load(path).method}))
    for path in sorted(FILES.glob("*.yaml"))
    if path.stem != "none"
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
        """Return a step for each method and engine that has one, plain PyTorch always among them."""
        steps: dict[tuple[str, str], Step] = {("none", "pytorch"): self.step(self.plain)}
        bare = {"analytical": self.analytical, "jacobian_regularizer": self.jacobian_regularizer}
        for method in methods:
            if method in bare and "pytorch" in engines:
                steps[method, "pytorch"] = self.step(bare[method])
            if method == "none" and "passes" in engines:
                steps[method, "passes"] = self.step(lambda: self.explicit(PLAIN))
            if method not in MODULES:
                continue
            made = {engine: self.method(method, engine) for engine in ("autograd", "passes")}
            draw = self.draw(made["passes"])
            objective = made["passes"].objective(self.batch, draw, STRENGTH, self.net.normalize)
            for engine in made if objective else ["autograd"]:
                if engine in engines:
                    steps[method, engine] = self.step(partial(self.loss, made[engine], draw))
            if objective and "compiled" in engines:
                compiled = torch.compile(partial(value_and_grads, objective=objective))
                x = self.net.normalize(self.batch.x)
                steps[method, "compiled"] = partial(compiled, self.net.body, x, self.batch.y)
        return steps

    def step(self, loss: Callable[[], Tensor]) -> Step:
        """Make the step of a loss: clear the old gradients, run forward and backward."""

        def run() -> None:
            self.net.zero_grad(set_to_none=True)
            loss().backward()

        return run

    def method(self, name: str, engine: str) -> Method:
        """Make a method as it would be trained."""
        settings: dict[str, Any] = {str(MODULES[name].strength): STRENGTH, "engine": engine}
        return MODULES[name](**settings)

    def draw(self, method: Method) -> Draw:
        """Draw once what a method needs for the batch."""
        x, generator = self.batch.x, make_generator(0, device=self.batch.x.device)
        (noise,) = method.draw_several(self.net, x, x.new_empty(len(x), N_CLASSES), 1, generator)
        return lambda _: noise

    def loss(self, method: Method, draw: Draw) -> Tensor:
        """Compute the loss that a method trains on."""
        return method.compute(self.net, self.batch, draw, STRENGTH).loss

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


def timing_row(row: dict[str, Any], report: dict[str, Any]) -> dict[str, Any]:
    """Make a row of ``timing.csv`` from a measured step."""
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
    case: Case, steps: dict[tuple[str, str], Step], *, repetitions: int, warmup: int, memory: bool
) -> list[dict[str, Any]]:
    """Time steps in turns, so that what slows the machine down meanwhile slows all of them.

    Args:
        case: whose steps they are.
        steps: what `Case.steps` returned.
        repetitions: in each of which all steps take their turn.
        warmup: repetitions before, that are not counted.
        memory: measure each step's peak of tensor memory too.

    Returns:
        A row a step, with medians.
    """
    times: dict[tuple[str, str], list[float]] = {key: [] for key in steps}
    for repetition in range(warmup + repetitions):
        for key, step in steps.items():
            seconds = clock(step, case.batch.x.device)
            if repetition >= warmup:
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
        if memory:
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

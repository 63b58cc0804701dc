"""Time jacexp and other libraries in one run, and write the table of docs/comparison.md: python docs/comparison.py.

The others have to be there: pip install deepinv torchjd, and jacobian_regularizer from its source
(github.com/facebookresearch/jacobian_regularizer), whose folder is on PYTHONPATH. It takes about five minutes on two
idle cores; --repetitions=3 is a trial, whose table is printed and not written.
"""

import argparse
import importlib
import json
import platform
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from jacexp import exact_jacobian, frobenius_norm, losses, spectral_norm
from jacexp.benchmark.steps import STRENGTH, Case, Step, measure
from jacexp.errors import ConfigError
from jacexp.store.provenance import provenance

PAGE = Path(__file__).with_name("comparison.md")
MARKS = "<!-- measured: written by python docs/comparison.py -->", "<!-- end of measured -->"
NETWORKS, BATCH, THREADS, REPETITIONS = ("lenet", "convnet_mnist"), 32, (1, 2), 40
OTHERS = {
    "jacobian": "jacobian_regularizer",
    "deepinv.loss.regularisers": "deepinv",
    "torchjd.autojac": "torchjd",
}

Penalty = Callable[[Tensor, Tensor], Tensor]
"""Computes a penalty from the logits, (B, C), and the input that they were computed from."""


def others() -> dict[str, Any]:
    """Import the other libraries, or raise a ConfigError that names those that are missing."""
    missing, found = [], {}
    for module, name in OTHERS.items():
        try:
            found[name] = importlib.import_module(module)
        except ImportError as error:
            missing.append(f"{name} ({error})")
    if missing:
        raise ConfigError(f"not installed: {', '.join(missing)}; see python docs/comparison.py --help")
    return found


def double_backward(case: Case, penalty: Penalty) -> Step:
    """Make a step of CE + strength · penalty, as the other libraries' users write it."""

    def loss() -> Tensor:
        x = case.net.normalize(case.batch.x).requires_grad_()
        z = case.net.body(x)
        return cross_entropy(z, case.batch.y) + STRENGTH * penalty(z, x)

    return case.step(loss)


def explicit(case: Case, method: str, **switches: int) -> Step:
    """Make a step of one of jacexp's losses, by explicit passes."""
    criterion = getattr(losses, method)(engine="passes", lam=STRENGTH, **switches)
    return case.step(lambda: criterion(case.net, case.batch.x, case.batch.y))


def steps(case: Case, libraries: dict[str, Any]) -> dict[tuple[str, str], Step]:
    """Return what is timed, by the quantity and by who computes it; a plain step first."""
    reg, norm = libraries["jacobian_regularizer"].JacobianReg, libraries["deepinv"].JacobianSpectralNorm
    jac = libraries["torchjd"].jac
    found: dict[tuple[str, str], Step] = {("none", "pytorch"): case.step(case.plain)}
    found["‖J‖²_F, one projection", "jacexp, `frob`"] = explicit(case, "frob", n_proj=1)
    found["‖J‖²_F, one projection", "jacobian_regularizer"] = double_backward(
        case, lambda z, x: reg(n=1)(x, z)
    )
    found["‖J‖²_F, exact", "jacexp, `frob`"] = explicit(case, "frob", n_proj=0)
    found["‖J‖²_F, exact", "jacobian_regularizer"] = double_backward(case, lambda z, x: reg(n=-1)(x, z))
    for n in (1, 10):
        power = norm(max_iter=n, reduction="mean")
        found[f"σ₁, {n} iterations" if n > 1 else "σ₁, 1 iteration", "jacexp, `spec`"] = explicit(
            case, "spec", n_iter=n
        )
        found[f"σ₁, {n} iterations" if n > 1 else "σ₁, 1 iteration", "deepinv"] = double_backward(
            case, lambda z, x, power=power: power(z, x)
        )
    x = case.net.normalize(case.batch.x)
    found["J itself, no gradient", "jacexp, `exact_jacobian`"] = torch.no_grad()(
        lambda: exact_jacobian(case.net.body, x)
    )
    found["J itself, no gradient", "torchjd, `jac`"] = lambda: summed_jac(jac, case.net.body, x)
    return found


def summed_jac(jac: Callable[..., Any], net: torch.nn.Module, x: Tensor) -> Tensor:
    """Return J of each sample, (B, C, *in), as the Jacobian of the logits summed over the batch."""
    x = x.detach().clone().requires_grad_()
    return jac(net(x).sum(dim=0), x)[0].transpose(0, 1)


def agreement(case: Case, libraries: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Return what both compute of one batch, ours first, where the quantities are the same."""
    x = case.net.normalize(case.batch.x).requires_grad_()
    z = case.net.body(x)
    sigma = spectral_norm(case.net.body, x.detach(), tol=1e-5).value.mean()
    norm = libraries["deepinv"].JacobianSpectralNorm(max_iter=200, reduction="mean", eval_mode=True)
    J, theirs = exact_jacobian(case.net.body, x), summed_jac(libraries["torchjd"].jac, case.net.body, x)
    found = {
        "½ mean ‖J‖²_F, jacobian_regularizer": (
            frobenius_norm(case.net.body, x).square().mean() / 2,
            libraries["jacobian_regularizer"].JacobianReg(n=-1)(x, z),
        ),
        "mean σ₁, deepinv": (sigma, norm(z, x)),
        "mean ‖J‖_F, torchjd": (J.flatten(1).norm(dim=1).mean(), theirs.flatten(1).norm(dim=1).mean()),
    }
    return {name: (ours.item(), other.item()) for name, (ours, other) in found.items()}


def written(cases: dict[str, dict[int, Any]], agreed: dict[str, Any], about: dict[str, str]) -> str:
    """Write the tables in markdown."""
    lines = [
        "| network | computed | by | 1 thread, ms | × plain | 2 threads, ms | × plain |",
        "|" + "---|" * 7,
    ]
    for network, by_threads in cases.items():
        for one, two in zip(*(by_threads[n] for n in THREADS), strict=True):
            cells = (f"{row['ms']:.2f} | {row['ratio']:.2f}" for row in (one, two))
            lines.append(f"| {network} | {one['method']} | {one['engine']} | {' | '.join(cells)} |")
    lines += ["", "| the same number twice | network | jacexp | the other |", "|---|---|---|---|"]
    for network, pairs in agreed.items():
        lines += [f"| {name} | {network} | {a:.6g} | {b:.6g} |" for name, (a, b) in pairs.items()]
    lines += ["", "  \n".join(f"{key}: {value}" for key, value in about.items())]
    return "\n".join(lines)


def main() -> int:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help=f"steps timed ({REPETITIONS})")
    repetitions = parser.parse_args().repetitions
    libraries, cases, agreed = others(), {}, {}
    for network in NETWORKS:
        case = Case.make(network, BATCH, torch.device("cpu"))
        agreed[network], cases[network] = agreement(case, libraries), {}
        for threads in THREADS:
            torch.set_num_threads(threads)
            cases[network][threads] = measure(
                case, steps(case, libraries), repetitions=repetitions, warmup=3, memory=False
            )
    known = provenance("cpu")
    about = {
        "device": f"cpu ({platform.machine()})",
        "commit": known["git"],
        "versions": versions(known["versions"]),
    }
    text = written(cases, agreed, about)
    print(text)
    if repetitions >= REPETITIONS:
        page = PAGE.read_text(encoding="utf-8")
        before, _, rest = page.partition(MARKS[0])
        PAGE.write_text(
            f"{before}{MARKS[0]}\n\n{text}\n\n{MARKS[1]}{rest.partition(MARKS[1])[2]}", encoding="utf-8"
        )
    return 0


def versions(ours: str) -> str:
    """List the versions of torch, jacexp and the others."""
    numbers = {name: json.loads(ours)[name] for name in ("jacexp", "torch")}
    for name in OTHERS.values():
        try:
            numbers[name] = version(name.replace("_", "-"))
        except PackageNotFoundError:
            numbers[name] = "from its source"
    return ", ".join(f"{name} {number}" for name, number in numbers.items())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ConfigError as error:
        sys.exit(f"error: {error}")

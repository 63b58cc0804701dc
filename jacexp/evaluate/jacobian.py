"""Statistics of the input-output Jacobian on stored networks."""

import sys
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from jacexp.evaluate.bounds import NoBoundError, operator_bound, reshaped_bound
from jacexp.evaluate.draws import normal_like
from jacexp.evaluate.frozen import finite_logits, frozen
from jacexp.evaluate.points import points, summary
from jacexp.evaluate.samples import Batch, Samples
from jacexp.evaluate.settings import AtLeastOne, Seed, checked
from jacexp.jacobian.linearize import linearize
from jacexp.jacobian.norms import exact_jacobian, per_sample_norm, unit
from jacexp.models.network import Network


@checked
def jacobian(samples: Samples, *, n_iter: AtLeastOne = 10, seed: Seed = 0) -> pd.DataFrame:
    """Measure each sample's J = dz/dx at the normalised input and what stands in for it (Johansson et al., Figure 5).

    Args:
        samples: of a network; its batch size is the number of images whose whole Jacobian is kept at a time.
        n_iter: follow the power iteration for 1 … n_iter rounds.
        seed: of the start of the power iterations.

    Returns:
        Statistics over the samples, without a variable. These are ``sigma1`` = σ₁(J), exact; ``frobenius`` = ‖J‖_F;
        ``bound_reshaped`` and ``bound_operator``, one number a network, and their ``…_error`` (bound − σ₁)/σ₁. With the
        variable ``n_iter``: ``relative_error`` = |σ̂ − σ₁|/σ₁ of the power iteration after so many rounds. Samples with
        J = 0 have no relative error; the flag ``zero_jacobian`` gives their number. ``below_sigma1`` marks a product
        that is less than some sample's σ₁. A network with layers whose norm is not known, or with branches, has no
        ``bound_operator``, and a line on stderr says why.
    """
    net = samples.net
    with frozen(net):
        parts = [_measure(net, batch, n_iter, seed) for batch in samples.batches()]
        bounds = {"bound_reshaped": reshaped_bound(net.body)}
        try:
            bounds["bound_operator"] = operator_bound(
                net.body, net.normalize(samples.pixels(0, 1)), seed=seed
            )
        except NoBoundError as error:
            print(f"note: {error}", file=sys.stderr, flush=True)
    sigma1, frobenius, estimates = (torch.cat(part).double().cpu() for part in zip(*parts, strict=True))
    rows = _rows(sigma1, frobenius, estimates, bounds)
    return points(rows, threat="clean, J of the logits by the normalised input")


def _measure(net: Network, batch: Batch, n_iter: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return σ₁ (B,), ‖J‖_F (B,) and the power iteration's σ̂ after each round (B, n_iter)."""
    finite_logits(net, batch.x)
    x = net.normalize(batch.x)
    whole = exact_jacobian(net.body, x).flatten(2)
    singular = torch.linalg.svdvals(whole)
    lin = linearize(net.body, x)
    v, estimates = normal_like(batch, seed, "jacobian"), []
    for _ in range(n_iter):
        v = lin.vjp(unit(lin.jvp(v)))
        estimates.append(per_sample_norm(v))
    return singular[:, 0], torch.linalg.vector_norm(singular, dim=1), torch.stack(estimates, dim=1)


def _rows(
    sigma1: Tensor, frobenius: Tensor, estimates: Tensor, bounds: dict[str, float]
) -> list[dict[str, Any]]:
    n = len(sigma1)
    alive = sigma1 > 0
    dead = n - int(alive.sum())
    zero = f"zero_jacobian={dead}" if dead else ""
    s = sigma1[alive]
    rows = [{"n": n, **summary("sigma1", sigma1), "check": zero}, {"n": n, **summary("frobenius", frobenius)}]
    for name, bound in bounds.items():
        check = "below_sigma1" if bound < sigma1.max() else ""
        rows.append({**summary(name, torch.tensor([bound])), "n": n, "check": check})
        rows.append({**summary(f"{name}_error", (bound - s) / s), "n": n - dead})
    for i, estimate in enumerate(estimates[alive].T):
        cells = {"variable": "n_iter", "value": i + 1, "n": n - dead}
        rows.append({**cells, **summary("relative_error", (estimate - s).abs() / s)})
    return rows

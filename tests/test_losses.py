"""The losses in a training loop of one's own, against the trained modules and against the papers' equations."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev, vmap
from torch.nn.functional import cross_entropy, one_hot

from jacexp import losses
from jacexp.data import Tangents
from jacexp.errors import ConfigError
from jacexp.methods import Method, Strength
from jacexp.random import make_generator
from jacexp.train.module import RegularizedModule
from tests.laws import METHODS, batch, drawn
from tests.networks import IMAGE, body, images, labels, network

STRENGTH = 0.05


def criterion(name: str, **changes: object) -> Method:
    kind = getattr(losses, name)
    return kind(**({kind.strength: STRENGTH} if kind.strength else {}), **changes)


def gradients(loss: torch.Tensor, net: nn.Module) -> list[torch.Tensor]:
    grads = torch.autograd.grad(loss, list(net.parameters()), allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for g, p in zip(grads, net.parameters(), strict=True)]


def test_there_is_one_for_each_method_of_the_command_line():
    assert sorted({*losses.__all__} - {"WithLoss"}) == METHODS


@pytest.mark.parametrize("engine", ["auto", "passes", "autograd"])
@pytest.mark.parametrize("name", METHODS)
def test_gradients_are_those_of_training(name, engine):
    net, of = network("conv"), batch()
    loss = criterion(name, engine=engine)
    module = RegularizedModule(net, loss)
    expected = module.terms(of, drawn(module, of.x))
    found = loss.parts(net, of.x, of.y, generator=make_generator(0, "noise"))
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)
    for a, b in zip(gradients(found.loss, net), gradients(expected.loss, net), strict=True):
        assert torch.equal(a, b)


def by_equation(name: str, net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Compute a loss as the papers write it, from whole Jacobians; `spec` in the limit of its power iteration."""
    parameters = dict(net.named_parameters())

    def z(image: torch.Tensor) -> torch.Tensor:
        return functional_call(net, parameters, image[None])[0]

    logits = net(x)
    ce = cross_entropy(logits, y)
    J = vmap(jacrev(z))(x).flatten(2)
    dz = (logits.softmax(1) - one_hot(y, logits.shape[1])).detach()
    g = torch.einsum("bc,bcd->bd", dz, J)
    star = x + STRENGTH * g.detach().view_as(x).sign()
    t = Tangents(IMAGE, dtype=x.dtype)(x).flatten(2)
    Jt = torch.einsum("bcd,btd->btc", J, t)
    weights = [p for p in net.parameters() if p.ndim > 1]
    penalties = {
        "none": lambda: ce.new_zeros(()),
        "l2": lambda: sum(w.square().sum() for w in weights),
        "spec_bound": lambda: one_iteration(weights),
        "spec": lambda: torch.linalg.matrix_norm(J, ord=2).mean(),
        "frob": lambda: J.square().sum(dim=(1, 2)).mean(),
        "loss_ibp": lambda: g.abs().sum(1).mean(),
        "pred_ibp": lambda: torch.einsum("bcd,bd->bc", J, g.detach()).abs().sum(1).mean(),
        "tbp": lambda: Jt.abs().sum(dim=(1, 2)).mean(),
        "fast_tbp": lambda: torch.einsum("bc,btc->bt", dz, Jt).abs().sum(1).mean(),
    }
    if name in ("at", "fast_at"):
        moved = cross_entropy(net(star), y)
        return moved if name == "fast_at" else (ce + moved) / 2
    return ce + STRENGTH * penalties[name]()


def one_iteration(weights: list[torch.Tensor]) -> torch.Tensor:
    """Σ σ̂(W)² from the draws that follow torch.manual_seed(0)."""
    torch.manual_seed(0)
    total = torch.zeros((), dtype=torch.float64)
    for w in (w.flatten(1) for w in weights):
        u = w.detach() @ torch.randn(1, w.shape[1], dtype=w.dtype)[0]
        total = total + (w.T @ (u / u.norm())).square().sum()
    return total


EXACT = {"spec": {"n_iter": 400}, "frob": {"n_proj": 0}}


@pytest.mark.parametrize("kind", ["conv", "smooth"])
@pytest.mark.parametrize("name", METHODS)
def test_gradients_are_those_of_the_equations(name, kind):
    net = smooth() if kind == "smooth" else body("conv")
    x, y = images(), labels()
    torch.manual_seed(0)
    loss = criterion(name, **EXACT.get(name, {}))(net, x, y)
    expected = by_equation(name, net, x, y)
    torch.testing.assert_close(loss, expected, rtol=1e-8, atol=1e-8)
    for a, b in zip(gradients(loss, net), gradients(expected, net), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def smooth() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(128, 12), nn.GELU(), nn.Linear(12, 4)).double()


@pytest.mark.parametrize("name", METHODS)
def test_draws_follow_the_global_seed(name):
    net, x, y = body("conv"), images(), labels()
    loss = criterion(name)
    torch.manual_seed(3)
    first, later = loss(net, x, y), loss(net, x, y)
    torch.manual_seed(3)
    assert torch.equal(loss(net, x, y), first)
    assert torch.equal(first, later) == (name not in ("spec", "frob", "spec_bound"))


@pytest.mark.parametrize("name", METHODS)
def test_halves_accumulate_to_the_whole(name):
    net, x, y = body("conv"), images(6), labels(6)
    loss = criterion(name, **EXACT.get(name, {}))
    expected = gradients(loss(net, x, y), net)
    for half in (slice(3), slice(3, 6)):
        torch.manual_seed(0)
        (loss(net, x[half], y[half]) / 2).backward()
    if name == "spec_bound":  # its draws are a step's, not a sample's
        torch.manual_seed(0)
        expected = gradients(loss(net, x, y), net)
    for p, g in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, g, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", METHODS)
def test_under_bfloat16_the_loss_is_near(name):
    net, x, y = body("conv", dtype=torch.float32), images(dtype=torch.float32), labels()
    torch.manual_seed(0)
    exact = criterion(name)(net, x, y)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        near = criterion(name)(net, x, y)
    near.backward()
    assert near.dtype == torch.float32
    torch.testing.assert_close(near, exact, rtol=0.05, atol=0.05)
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("engine", ["passes", "autograd"])
@pytest.mark.parametrize("name", METHODS)
def test_the_statistics_of_batch_norm_move_once(name, engine):
    net = body("batch_norm")
    criterion(name, engine=engine)(net, images(), labels())
    assert net[1].num_batches_tracked == 1


def test_a_network_of_ones_own_may_be_frozen_in_part():
    net = body("conv")
    net[0].requires_grad_(False)
    criterion("spec")(net, images(), labels()).backward()
    assert net[0].weight.grad is None
    assert net[-1].weight.grad.abs().sum() > 0


def test_a_method_of_ones_own_is_a_loss_too():
    class LogitNorm(Method):
        lam: Strength

        def penalty(self, lin, batch, noise):
            return lin.logits.square().sum(dim=1)

    net, x, y = body("conv"), images(), labels()
    loss = LogitNorm(lam=0.1)(net, x, y)
    expected = cross_entropy(net(x), y) + 0.1 * net(x).square().sum(1).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda x, y: losses.spec(), "lam is missing: SpectralNorm takes lam, n_iter"),
        (lambda x, y: losses.spec(lam=-1), "^lam=-1: choose a finite number"),
        (lambda x, y: losses.spec(lamm=1), r"^lamm is unknown \(did you mean lam\?\)"),
        (lambda x, y: losses.spec(lam=1, engine="hand"), "engine='hand': choose auto"),
        (lambda x, y: criterion("spec")(x, body("conv"), y), "net is a Tensor"),
        (lambda x, y: criterion("spec")(nn.DataParallel(body("conv")), x, y), "wrap the other way round"),
        (lambda x, y: criterion("none")(body("conv"), x.int(), y), "derivatives need floating-point"),
        (lambda x, y: criterion("none")(body("conv"), x, y[:2]), "one a sample"),
        (lambda x, y: criterion("spec")(body("conv"), x, y + 9), "beyond the network's"),
        (lambda x, y: criterion("l2")(body("conv"), x, torch.full_like(y, -100)), "y has the class -100"),
        (lambda x, y: criterion("spec")(body("conv"), x[:0], y[:0]), "the batch is empty"),
        (
            lambda x, y: criterion("spec")(body("conv"), x.requires_grad_(), y),
            "engine='autograd', or x.detach",
        ),
        (lambda x, y: criterion("tbp")(nn.Linear(128, 4), x.flatten(1), y), "tangents need images"),
        (lambda x, y: criterion("spec")(body("conv"), x, y, generator=3), "is no torch.Generator"),
    ],
)
def test_wrong_input_is_one_clear_error(make, says):
    with pytest.raises(ConfigError, match=says):
        make(images(), labels())


def test_by_autograd_the_input_has_a_gradient_too():
    x = images().requires_grad_()
    criterion("spec", engine="autograd")(body("conv"), x, labels()).backward()
    assert x.grad.abs().sum() > 0


PROCESSES = """
import sys, torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from jacexp import losses
from tests.networks import body, images, labels

rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
net, own = body("conv"), slice(rank * 3, rank * 3 + 3)
model = DistributedDataParallel(losses.WithLoss(net, losses.loss_ibp(beta=0.05)))
model(images(6)[own], labels(6)[own]).backward()
if rank == 0:
    torch.save([p.grad for p in net.parameters()], f"{folder}/gradients.pt")
dist.destroy_process_group()
"""


def test_two_processes_have_the_gradients_of_one(tmp_path):
    workers = [
        subprocess.Popen([sys.executable, "-c", PROCESSES, str(rank), str(tmp_path)]) for rank in range(2)
    ]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    net = body("conv")
    expected = gradients(losses.loss_ibp(beta=0.05)(net, images(6), labels(6)), net)
    for a, b in zip(torch.load(tmp_path / "gradients.pt"), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)

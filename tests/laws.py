"""The laws that every method obeys, stated once; `tests/methods/test_laws.py` runs them for every file in conf/method.

A method is built by name from its own YAML, so a new one is under these laws as soon as it has a file.
"""

import copy
from pathlib import Path

import torch
from omegaconf import OmegaConf
from torch import Tensor

from jacexp.data import Batch, Tangents
from jacexp.jacobian import linearize
from jacexp.methods import Noise
from jacexp.methods.none import Plain
from jacexp.methods.weights import WeightPenalty
from jacexp.models import Network
from jacexp.random import make_generator
from jacexp.train.job import hyperparameters, method_class
from jacexp.train.module import RegularizedModule
from tests.networks import IMAGE, images, labels, network

CONF = Path(__file__).parents[1] / "conf"
METHODS = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))
OF_JACOBIAN = ("spec", "frob", "loss_ibp", "pred_ibp", "tbp", "fast_tbp")
"""The papers' penalties that are norms of Jacobian products."""


def make(name: str, net: Network, **changes: object) -> RegularizedModule:
    """Build a method from its YAML, with some hyper-parameters changed, on a network, with the autograd engine."""
    cfg = OmegaConf.load(CONF / "method" / f"{name}.yaml")
    typed = OmegaConf.create({"method": {**cfg.method, **changes}})
    return RegularizedModule(net, method_class(typed)(**hyperparameters(typed), engine="autograd"))


def is_per_sample(name: str) -> bool:
    """Whether a method has a penalty, and it is one number a sample."""
    return not isinstance(make(name, network("mlp")).method, WeightPenalty | Plain)


def batch(n: int = 5, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> Batch:
    """Make a batch of images in [0, 1] times a scale, with classes and tangents."""
    x = images(n, dtype=dtype) * scale
    return Batch(x, labels(n), Tangents(IMAGE, dtype=dtype)(x))


def rows(of: Batch, keep: slice | Tensor) -> Batch:
    """Select some samples of a batch."""
    return Batch(of.x[keep], of.y[keep], None if of.tangents is None else of.tangents[keep])


def drawn(module: RegularizedModule, x: Tensor) -> Noise:
    """Draw what a method needs for a batch, the same at every call."""
    return module.draw(x, 1, make_generator(0, "noise"))[0]


def penalty(module: RegularizedModule, of: Batch) -> Tensor:
    """Compute the penalty of a batch, with the same draws at every call."""
    return module.terms(of, drawn(module, of.x)).penalty


def shape_and_sign(name: str) -> None:
    """A penalty is one number ≥ 0 a sample, or one for the weights, and finite at every scale of the input."""
    for scale in (1e-10, 1e-3, 1.0, 1e5):
        for dtype in (torch.float32, torch.float64):
            value = penalty(make(name, network("conv", dtype=dtype)), batch(5, scale, dtype))
            assert value.shape == ((5,) if is_per_sample(name) else ())
            assert value.dtype == dtype
            assert value.isfinite().all(), scale
            assert (value >= 0).all(), scale


def zero_for_a_constant_network(name: str) -> None:
    """A network that does not look at its input has no Jacobian."""
    net = network("conv")
    torch.nn.init.zeros_(net.body[-1].weight)
    value = penalty(make(name, net), batch())
    assert torch.equal(value, torch.zeros_like(value))


def homogeneity(name: str, degree: int) -> None:
    """A norm of the Jacobian times c is c times the norm; c scales the last layer, without its bias."""
    net = network("conv")
    torch.nn.init.zeros_(net.body[-1].bias)
    before = penalty(make(name, net), batch())
    with torch.no_grad():
        net.body[-1].weight.mul_(3.0)
    torch.testing.assert_close(penalty(make(name, net), batch()), 3.0**degree * before)


def independence(name: str, net: str) -> None:
    """A sample's penalty is the same whatever samples it shares its batch with, in eval mode."""
    together = batch(5)
    module = make(name, network(net).eval())
    noise = drawn(module, together.x)
    whole = module.terms(together, noise).penalty
    for b in range(5):
        own = {key: value.narrow(module.method.sample_dim, b, 1) for key, value in noise.items()}
        alone = module.terms(rows(together, slice(b, b + 1)), own).penalty
        torch.testing.assert_close(alone[0], whole[b])


def order_of_samples(name: str, net: str) -> None:
    """Permuting a batch permutes its penalties, in train mode too: batch statistics are all that is shared."""
    module = make(name, network(net))
    of, turn = batch(5), torch.tensor([3, 0, 4, 1, 2])
    noise = drawn(module, of.x)
    turned = {key: value.index_select(module.method.sample_dim, turn) for key, value in noise.items()}
    before = module.terms(of, noise).penalty
    torch.testing.assert_close(module.terms(rows(of, turn), turned).penalty, before[turn])


def statistics_move_once(name: str) -> None:
    """One step moves batch norm's running statistics exactly as one forward pass does, and leaves no mode changed."""
    net = network("batch_norm")
    module, of = make(name, net), batch()
    before = copy.deepcopy(net)
    modes = [m.training for m in net.modules()]
    noise = drawn(module, of.x)
    with torch.no_grad():
        module.terms(of, noise)
    moved = net.body[1].num_batches_tracked - before.body[1].num_batches_tracked
    assert moved.item() == 1
    assert modes == [m.training for m in net.modules()]
    if name != "fast_at":  # it trains on other images than the clean ones
        before(of.x)
        torch.testing.assert_close(net.body[1].running_mean, before.body[1].running_mean)
        torch.testing.assert_close(net.body[1].running_var, before.body[1].running_var)


def strength_zero_is_none(name: str) -> None:
    """Training with strength 0 gives the weights of plain training, bit for bit."""
    ended = []
    for method, changes in ((name, {make(name, network("conv")).method.strength: 0.0}), ("none", {})):
        module = make(method, network("conv", dtype=torch.float32), **changes)
        for _ in range(3):
            steps(module, batch(dtype=torch.float32))
        ended.append(module.net.state_dict())
    for key, value in ended[0].items():
        assert torch.equal(value, ended[1][key]), key


def steps(module: RegularizedModule, of: Batch) -> None:
    """Run one optimiser step as the training does."""
    optimizer = module.recipe.make_optimizer(module.net)
    loss = module.training_step(of, 0)
    loss.backward()
    optimizer.step()
    module.zero_grad()


def gradient_is_that_of_the_value(name: str, **exact: object) -> None:
    """The parameters' gradient is the derivative of the loss, where the method holds nothing constant."""
    net = network("mlp")
    module, of = make(name, net, **exact), batch(3)
    noise = drawn(module, of.x)
    names = [key for key, _ in module.named_parameters()]

    def loss(*parameters: Tensor) -> Tensor:
        with torch.no_grad():
            for key, value in zip(names, parameters, strict=True):
                module.get_parameter(key).copy_(value)
        return module.terms(of, noise).loss

    parameters = [p.detach().clone() for p in module.parameters()]
    analytic = torch.autograd.grad(loss(*parameters), list(module.parameters()))
    for i, gradient in enumerate(analytic):
        direction = torch.randn(gradient.shape, dtype=torch.float64, generator=make_generator(i, "direction"))
        step = 1e-6
        ahead, behind = (
            loss(*parameters[:i], parameters[i] + sign * step * direction, *parameters[i + 1 :]).detach()
            for sign in (1, -1)
        )
        torch.testing.assert_close(
            (gradient * direction).sum(), (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-8
        )


def engines_agree(name: str, net: str, *, train: bool = True, **switches: object) -> None:
    """The explicit passes have the loss, gradients and statistics of the method's equation, differentiated twice."""
    found = []
    for engine in ("autograd", "passes"):
        module = make(name, network(net).train(train), **switches)
        module.method.engine = engine
        of = batch()
        noise = drawn(module, of.x)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # of dropout
            terms = module.terms(of, noise)
        terms.loss.backward()
        found.append((terms, module.net))
    (expected, reference), (terms, other) = found
    torch.testing.assert_close(tuple(terms), tuple(expected), rtol=1e-10, atol=1e-12)
    total = torch.cat([p.grad.flatten() for p in reference.parameters()]).norm()
    for (key, p), q in zip(other.named_parameters(), reference.parameters(), strict=True):
        assert (p.grad - q.grad).norm() < 1e-10 * max(q.grad.norm(), 1e-4 * total), key
    for (key, b), c in zip(other.named_buffers(), reference.named_buffers(), strict=True):
        torch.testing.assert_close(b, c[1], rtol=1e-10, atol=1e-14, msg=key)


def linearization_of(module: RegularizedModule, of: Batch):
    """Linearise a module's body at its normalised batch, as its penalty sees it."""
    return linearize(module.net.body, module.net.normalize(of.x), engine="autograd")

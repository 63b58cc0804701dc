"""What every method shares: the loss, mean cross-entropy + strength x mean penalty, as a function of a network."""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DataParallel, DistributedDataParallel

from jacexp.data.spec import Batch
from jacexp.data.tangents import Tangents
from jacexp.errors import ConfigError
from jacexp.jacobian.explicit import has_explicit_steps
from jacexp.jacobian.linearize import Engine, Linearization, linearize
from jacexp.jacobian.shapes import require_batch, require_classes, require_generator, require_penalty
from jacexp.jacobian.step import Factor, Objective, Step, explicit_loss
from jacexp.jacobian.terms import Terms
from jacexp.methods.draws import Draw, Noise
from jacexp.methods.hyperparameters import Declared
from jacexp.models.network import Network, Normalize, as_network


class Method(Declared):
    """Cross-entropy with a penalty: loss = mean(CE) + strength · mean(penalty), both one number a sample.

    A method is a subclass in a file of its own: its annotations are its hyper-parameters (and so the keys of its YAML),
    the one that is a `Strength` multiplies the penalty, and `penalty` is its equation. It holds its hyper-parameters
    and nothing else: the loss is a function of a network, a batch and what was drawn. Strength 0 is plain training, bit
    for bit.
    """

    sample_dim: ClassVar[int | None] = 0
    """The dimension of what `draw` returns that counts the samples; None where the draws belong to the weights."""

    trains_on_clean: ClassVar[bool] = True
    """Whether the images as they are belong to what is trained on, and so move batch norm's running statistics."""

    engine: Engine = "auto"
    """What multiplies by Jacobians."""

    def __init__(self, *, engine: Engine = "auto", **hyperparameters: Any) -> None:
        """Keep what the class declares.

        Raises:
            ConfigError: for a hyper-parameter that is missing, unknown, or has a value that is not allowed, or an
                unknown engine.
        """
        for name, value in self.checked(hyperparameters).items():
            setattr(self, name, value)
        if engine not in get_args(Engine):
            raise ConfigError(f"engine={engine!r}: choose {', '.join(get_args(Engine))}")
        self.engine = engine

    def __call__(
        self, net: nn.Module, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Compute the loss of a batch, (), to be differentiated once; see `parts`."""
        return self.parts(net, x, y, generator=generator).loss

    def parts(
        self, net: nn.Module, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None
    ) -> Terms:
        """Compute the loss of a batch with what it is made of, by one forward pass, or two of ``at`` and ``fast_at``.

        Args:
            net: any module, (B, *in) -> (B, C), whose Jacobian is taken at its input; or a `jacexp.models.Network`,
                whose Jacobian is taken behind its normalisation. Strengths are in the units of that input, ``epsilon``
                in those of x.
            x: the batch, (B, *in), of floating-point numbers.
            y: its classes, (B,), int64.
            generator: where the draws come from; None for PyTorch's global generator.

        Returns:
            The loss, a mean over samples, and each sample's cross-entropy, penalty and logits. Only the loss has a
            gradient.

        Raises:
            ConfigError: for a net, x, y or generator that is none of these.
            NoRuleError: for a layer without a rule, with ``engine="passes"``.
        """
        require_network(net)
        require_batch(x)
        require_classes(y, x)
        require_generator(generator, x)
        self._require_trainable(x, y)
        network = as_network(net)
        tangents = self.tangents(tuple(x.shape[1:]), x.device, x.dtype)
        batch = Batch(x, y, None if tangents is None else tangents(x))

        def draw(z: Tensor) -> Noise:
            return self.draw_several(network, x, z, 1, generator)[0]

        return self.compute(network, batch, draw, self.strength_value)

    def _require_trainable(self, x: Tensor, y: Tensor) -> None:
        """Refuse what would give a wrong loss or gradient without a word.

        Raises:
            ConfigError: for an empty batch, a class below 0, or an x that waits for a gradient of explicit passes.
        """
        if not len(x):
            raise ConfigError("the batch is empty: its mean loss is undefined")
        if y.device.type == "cpu" and y.min() < 0:  # a comparison on a GPU would wait for it
            raise ConfigError(
                f"y has the class {y.min().item()}; classes are 0 and more, and none is ignored"
            )
        if x.requires_grad and torch.is_grad_enabled() and self.engine != "autograd":
            raise ConfigError(
                "x requires a gradient, which explicit passes do not compute: give the loss engine='autograd', "
                "or x.detach()"
            )

    @property
    def strength_value(self) -> float:
        """The strength of the penalty; 0 for a method without one."""
        return getattr(self, self.strength) if self.strength else 0.0

    @property
    def follows_learning_rate(self) -> bool:
        """Whether the strength falls as the learning rate does."""
        return False

    def tangents(
        self,
        in_shape: tuple[int, ...],  # noqa: ARG002  # most methods need none
        device: torch.device,  # noqa: ARG002
        dtype: torch.dtype = torch.float32,  # noqa: ARG002
    ) -> Tangents | None:
        """Make what computes the tangent vectors that the batches must bring along; None for most methods."""
        return None

    def draw(self, x: Tensor, z: Tensor, generator: torch.Generator | None) -> Noise:  # noqa: ARG002
        """Draw what the penalty of one batch needs; apart from it, the penalty is a pure function.

        Args:
            x: a tensor like the batch, (B, *in); its values do not matter.
            z: one like its logits, (B, C).
            generator: where to draw from; None for PyTorch's global one.

        Returns:
            The draws by name; most methods draw nothing.
        """
        return {}

    def draw_several(
        self,
        net: Network,  # noqa: ARG002  # for draws that belong to its weights
        x: Tensor,
        z: Tensor,
        n: int,
        generator: torch.Generator | None,
    ) -> Sequence[Noise]:
        """Draw for n batches like x, (B, *in), and z, (B, C): where draws belong to samples, all at once."""
        dim = self.sample_dim
        if dim is None:
            return [self.draw(x, z, generator) for _ in range(n)]
        x, z = (t[:1].expand(n * len(t), *t.shape[1:]) for t in (x, z))
        drawn = self.draw(x, z, generator)
        parts = {name: value.unflatten(dim, (n, -1)) for name, value in drawn.items()}
        return [{name: part.select(dim, i) for name, part in parts.items()} for i in range(n)]

    def stacked_noise(self, drawn: Sequence[Noise]) -> Noise:
        """Join what was drawn for each network to what a stack of them needs: more samples, or (N, ...)."""
        dim = self.sample_dim
        parts = {name: [noise[name] for noise in drawn] for name in drawn[0]}
        return {n: torch.stack(vs) if dim is None else torch.cat(vs, dim) for n, vs in parts.items()}

    def penalty(self, lin: Linearization, batch: Batch, noise: Noise) -> Tensor:
        """Compute the penalty of each sample, (B,), from the linearised network.

        Args:
            lin: the network, linearised at the batch in its own units.
            batch: x in pixels, (B, *in), y, (B,), and tangents in the network's units, (B, T, *in).
            noise: what `draw` returned for it.
        """
        raise NotImplementedError

    def passes(
        self, step: Step, batch: Batch, noise: Noise, strength: Factor, normalize: Normalize
    ) -> Tensor:
        """Run the penalty's explicit passes, which hand the gradients to ``step``; see `jacexp.jacobian.Step`.

        Optional: without them a method is differentiated automatically and cannot be trained as a stack.

        Args:
            step: the batch in the network's units, after its forward pass; of N stacked networks one after another.
            batch: as for `penalty`.
            noise: what `draw` returned for it.
            strength: of the penalty; in a stack a tensor, (N · B,).
            normalize: from pixels to the units of the network, or of each network of a stack.

        Returns:
            The penalty, (B,).
        """
        raise NotImplementedError

    def sample_loss(self, cross_entropy: Tensor, penalty: Tensor, strength: Factor) -> Tensor:
        """Compute each sample's loss, (B,), whose mean `passes` differentiate."""
        return cross_entropy + strength * penalty

    def objective(self, batch: Batch, draw: Draw, strength: Factor, normalize: Normalize) -> Objective | None:
        """Return the loss as explicit passes, which compute its gradient by hand; None where nobody wrote them."""
        if type(self).passes is Method.passes:
            return None
        batch = in_network_units(batch, normalize)

        def run(step: Step) -> Tensor:
            noise = draw(step.lin.logits)
            penalty = self.passes(step, batch, noise, strength, normalize)
            return require_penalty(type(self).__name__, penalty, step.cross_entropy.shape)

        return Objective(run, partial(self.sample_loss, strength=strength), self.trains_on_clean)

    def compute(self, net: Network, batch: Batch, draw: Draw, strength: float) -> Terms:
        """Compute the loss of a batch. The Jacobian is taken at the output of the network's normalisation.

        Args:
            net: the network.
            batch: x and tangents in pixels.
            draw: draws for it, once its logits are known; not asked at strength 0.
            strength: of the penalty.

        Returns:
            The loss and its parts.
        """
        if strength == 0:
            return plain_terms(net, batch)
        return self.explicit_terms(net, batch, draw, strength) or self.autograd_terms(
            net, batch, draw, strength
        )

    def explicit_terms(self, net: Network, batch: Batch, draw: Draw, strength: float) -> Terms | None:
        """Compute the loss with its gradient by explicit passes; None where the engine, method or network has none."""
        if self.engine == "autograd" or (self.engine == "auto" and not has_explicit_steps(net.body)):
            return None
        objective = self.objective(batch, draw, strength, net.normalize)
        if objective is None:
            return None
        return explicit_loss(net.body, net.normalize(batch.x), batch.y, objective)

    def autograd_terms(self, net: Network, batch: Batch, draw: Draw, strength: float) -> Terms:
        """Compute the loss from the penalty's own equation, to be differentiated automatically."""
        lin = linearize(net.body, net.normalize(batch.x), engine=self.engine)
        ce = cross_entropy(lin.logits, batch.y, reduction="none")
        penalty = self.penalty(lin, in_network_units(batch, net.normalize), draw(lin.logits))
        penalty = require_penalty(type(self).__name__, penalty, ce.shape)
        return Terms(ce.mean() + strength * penalty.mean(), ce, penalty, lin.logits)


def plain_terms(net: Network, batch: Batch) -> Terms:
    """Compute the loss of plain training, the mean cross-entropy."""
    logits = net(batch.x)
    ce = cross_entropy(logits, batch.y, reduction="none")
    return Terms(ce.mean(), ce, ce.new_zeros(()), logits)


def in_network_units(batch: Batch, normalize: Normalize) -> Batch:
    """Convert a batch's tangents, where it has some, to the network's units; x stays in pixels."""
    return batch if batch.tangents is None else batch._replace(tangents=normalize.direction(batch.tangents))


def require_network(net: Any) -> None:
    """Check what is to be trained.

    Raises:
        ConfigError: unless it is a module whose parameters may be given gradients by hand.
    """
    if not isinstance(net, nn.Module):
        raise ConfigError(f"net is a {type(net).__name__}, not a torch.nn.Module: call criterion(net, x, y)")
    if isinstance(net, DistributedDataParallel | DataParallel):
        raise ConfigError(
            f"net is a {type(net).__name__}, whose forward must see the whole loss: wrap the other way round, "
            f"{type(net).__name__}(losses.WithLoss(net, criterion)), and call that with (x, y)"
        )

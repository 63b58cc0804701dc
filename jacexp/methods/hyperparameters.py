"""Hyper-parameters: annotations of a method's class, which say each one's type, range and default.

    class SpectralNorm(RegularizedModule):
        lam: Strength
        n_iter: AtLeastOne = 1
        power: Literal[1, 2] = 1

The keys of a method's YAML, the keyword arguments of its constructor and all checks follow from them.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Annotated, Any, ClassVar, get_args, get_origin

from jacexp.errors import ConfigError, did_you_mean
from jacexp.ranges import NotNegative, fits, in_words


class IsStrength:
    """Marks the hyper-parameter that multiplies a method's penalty."""


Strength = Annotated[NotNegative, IsStrength]
"""The type of a method's strength, ``lam``, ``beta`` or ``epsilon``; a method has one at most."""

REQUIRED = inspect.Parameter.empty
"""The default of a hyper-parameter that has none."""


@dataclass(frozen=True)
class Hyperparameter:
    """One hyper-parameter of a method."""

    name: str
    kind: Any
    """Its annotated type."""
    default: Any = REQUIRED
    is_strength: bool = False

    def checked(self, value: Any) -> Any:
        """Convert a whole number to float where the type is that, and refuse what does not fit.

        Returns:
            The value.

        Raises:
            ConfigError: saying what is allowed, for any other one; NaN and infinity never are.
        """
        if not fits(value, self.kind):
            raise ConfigError(f"method.{self.name}={value}: choose {in_words(self.kind)}")
        plain = get_args(self.kind)[0] if get_origin(self.kind) is Annotated else self.kind
        return float(value) if plain is float and isinstance(value, Real) else value


def declared(cls: type, base: type) -> dict[str, Hyperparameter]:
    """Read the hyper-parameters that a method's class and its parents below ``base`` declare, by name.

    Returns:
        The hyper-parameters, a parent's first.

    Raises:
        ConfigError: for an annotation that is no type of a hyper-parameter.
    """
    found: dict[str, Hyperparameter] = {}
    for owner in reversed(cls.__mro__):
        if not issubclass(owner, base) or owner is base:
            continue
        for name, kind in inspect.get_annotations(owner, eval_str=True).items():
            if ClassVar not in (kind, get_origin(kind)) and not name.startswith("_"):
                found[name] = _parsed(owner, name, kind)
    return found


def _parsed(owner: type, name: str, kind: Any) -> Hyperparameter:
    is_strength = IsStrength in getattr(kind, "__metadata__", ())
    if is_strength:
        kind = NotNegative
    try:
        in_words(kind)
    except (KeyError, TypeError):
        raise ConfigError(
            f"{owner.__name__}.{name}: {kind} is no type of a hyper-parameter; choose bool, int, float, str, a Literal "
            "of such values or a type of jacexp.ranges, or ClassVar for what is none"
        ) from None
    return Hyperparameter(name, kind, owner.__dict__.get(name, REQUIRED), is_strength)


def checked(owner: type, known: Mapping[str, Hyperparameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """Convert and check what a method was given, and complete it by the defaults.

    Returns:
        Every hyper-parameter by name.

    Raises:
        ConfigError: for one that the method does not have, lacks, or cannot take.
    """
    takes = ", ".join(f"method.{name}" for name in known) or "no hyper-parameter"
    for name in given:
        if name not in known:
            near = did_you_mean(name, known)
            raise ConfigError(f"method.{name} is unknown{near}: {owner.__name__} takes {takes}")
    values = {name: given.get(name, p.default) for name, p in known.items()}
    for name, value in values.items():
        if value is REQUIRED:
            raise ConfigError(f"method.{name} is missing: {owner.__name__} takes {takes}")
    return {name: p.checked(values[name]) for name, p in known.items()}

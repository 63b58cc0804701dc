"""Hyper-parameters: annotations of a method's class, which say each one's type, range and default.

    class SpectralNorm(Method):
        lam: Strength
        n_iter: AtLeastOne = 1
        power: Literal[1, 2] = 1

The keys of a method's YAML, the keyword arguments of its constructor and all checks follow from them.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Annotated, Any, ClassVar, dataclass_transform, get_args, get_origin

from jacexp.errors import ConfigError, did_you_mean
from jacexp.ranges import NotNegative, fits, in_words


class IsStrength:
    """Marks the hyper-parameter that multiplies a method's penalty."""


@dataclass(frozen=True)
class AddedLater:
    """Marks a switch that runs were stored without: at the value they had it is no part of a run's name and options."""

    value: object


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
    unnamed: object = None
    """The value at which it is no part of a run's name, if it was added later."""

    def checked(self, value: Any, prefix: str = "") -> Any:
        """Convert a whole number to float where the type is that, and refuse what does not fit.

        Args:
            value: the value.
            prefix: what an error puts before the name.

        Returns:
            The value.

        Raises:
            ConfigError: saying what is allowed, for any other one; NaN and infinity never are.
        """
        if not fits(value, self.kind):
            raise ConfigError(f"{prefix}{self.name}={value}: choose {in_words(self.kind)}")
        plain = get_args(self.kind)[0] if get_origin(self.kind) is Annotated else self.kind
        return float(value) if plain is float and isinstance(value, Real) else value


@dataclass_transform(kw_only_default=True)  # so that editors complete the keyword arguments
class Declared:
    """The parent of a base class whose subclasses declare hyper-parameters by their annotations.

    The base class itself has settings, the keyword arguments of its constructor.
    """

    hyperparameters: ClassVar[Mapping[str, Hyperparameter]] = {}
    """What the class declares, by name, a parent's first."""

    strength: ClassVar[str | None] = None
    """The name of the one that is a `Strength`: ``lam``, ``beta``, ``epsilon`` or None."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Read what the class declares.

        Raises:
            ConfigError: for hyper-parameters that are not declared by annotations, or an annotation that is none.
        """
        super().__init_subclass__(**kwargs)
        if Declared in cls.__bases__:
            return
        own = {
            name: _parsed(cls, name, kind)
            for name, kind in inspect.get_annotations(cls, eval_str=True).items()
            if ClassVar not in (kind, get_origin(kind)) and not name.startswith("_")
        }
        inherited: dict[str, Hyperparameter] = {}
        for parent in reversed(cls.__mro__[1:]):
            inherited |= parent.__dict__.get("hyperparameters", {})
        cls.hyperparameters = inherited | own
        strengths = [name for name, p in cls.hyperparameters.items() if p.is_strength]
        arguments = inspect.signature(cls).parameters.values()
        base = next(parent for parent in cls.__mro__ if Declared in parent.__bases__)
        settings = inspect.signature(base).parameters
        undeclared = {p.name for p in arguments if p.kind is p.KEYWORD_ONLY} - {
            *settings,
            *cls.hyperparameters,
        }
        if len(strengths) > 1 or cls.__dict__.get("strength") or undeclared:
            raise ConfigError(
                f"{cls.__name__} must declare each hyper-parameter by an annotation of the class, "
                "`name: type = default`, and at most one, its strength, as `lam: Strength`; neither arguments of its "
                "constructor nor `strength = ...` do"
            )
        cls.strength = strengths[0] if strengths else None

    @classmethod
    def checked(cls, given: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        """Convert hyper-parameters to their declared types and complete them by their defaults.

        Args:
            given: values by name.
            prefix: what an error puts before a name: ``method.`` where they come from a command line.

        Returns:
            Every hyper-parameter by name.

        Raises:
            ConfigError: for one that is missing, unknown, or has a value that is not allowed.
        """
        known = cls.hyperparameters
        takes = ", ".join(f"{prefix}{name}" for name in known) or "no hyper-parameter"
        for name in given:
            if name not in known:
                near = did_you_mean(name, known)
                raise ConfigError(f"{prefix}{name} is unknown{near}: {cls.__name__} takes {takes}")
        values = {name: given.get(name, p.default) for name, p in known.items()}
        for name, value in values.items():
            if value is REQUIRED:
                raise ConfigError(f"{prefix}{name} is missing: {cls.__name__} takes {takes}")
        return {name: p.checked(values[name], prefix) for name, p in known.items()}

    @classmethod
    def named(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Leave out the switches that were added later and are at the value of before: what a run is named by."""
        known = cls.hyperparameters
        return {
            k: value
            for k, value in values.items()
            if k not in known or known[k].unnamed is None or known[k].unnamed != value
        }


def _parsed(owner: type, name: str, kind: Any) -> Hyperparameter:
    notes = getattr(kind, "__metadata__", ())
    if notes:
        ranges = [note for note in notes if note is not IsStrength and not isinstance(note, AddedLater)]
        kind = Annotated[(kind.__origin__, *ranges)] if ranges else kind.__origin__
    try:
        in_words(kind)
    except (KeyError, TypeError):
        raise ConfigError(
            f"{owner.__name__}.{name}: {kind} is no type of a hyper-parameter; choose bool, int, float, str, a Literal "
            "of such values or a type of jacexp.ranges, or ClassVar for what is none"
        ) from None
    default = owner.__dict__.get(name, REQUIRED)
    unnamed = next((note.value for note in notes if isinstance(note, AddedLater)), None)
    return Hyperparameter(name, kind, default, IsStrength in notes, unnamed)

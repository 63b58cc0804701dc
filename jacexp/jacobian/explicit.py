"""Which networks can be trained by explicit steps, alone and as a stack; `jacexp.jacobian.step` takes them."""

from torch import nn

from jacexp.errors import NoRuleError
from jacexp.jacobian.graph import program_of


def has_explicit_steps(net: nn.Module) -> bool:
    """Return whether every layer of a network has a rule, and all are piecewise linear."""
    try:
        return all(rule.piecewise_linear for rule in program_of(net).bind(net))
    except NoRuleError:
        return False


def why_not_stacked(net: nn.Module) -> str | None:
    """Return why networks of this kind cannot be trained as one stack; None if they can."""
    try:
        program = program_of(net)
        program.rules(stacked=True)
        curved = [rule for rule in program.bind(net) if not rule.piecewise_linear]
    except NoRuleError as error:
        return str(error)
    return f"{type(curved[0]).__name__} is not piecewise linear" if curved else None

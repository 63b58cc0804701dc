import pytest
import torch
from torch import nn

from jacexp.evaluate.frozen import (
    EvaluationError,
    finite_logits,
    frozen,
    global_random_state_kept,
    is_correct,
)
from tests.evaluate.nets import convnet


def test_restores_after_an_error():
    net = convnet().train()
    net.body[1].eval()

    def fail() -> None:
        with frozen(net):
            assert not any(module.training for module in net.modules())
            assert not any(p.requires_grad for p in net.parameters())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [m.training for m in net.body] == [True, False, *[True] * 7]
    assert all(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode])
def test_input_gradients_work_where_the_caller_has_none(around):
    net = nn.Linear(3, 2)
    with around(), frozen(net):
        x = torch.ones(1, 3, requires_grad=True)
        (gradient,) = torch.autograd.grad(net(x).sum(), x)
    assert torch.equal(gradient[0], net.weight.detach().sum(dim=0))


def test_global_random_state_is_kept_though_a_library_seeds_it():
    before = torch.get_rng_state()
    with global_random_state_kept():
        torch.manual_seed(0)
        torch.rand(5)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (torch.tensor([[0.0, torch.inf]]), "not all finite"),
        (torch.tensor([[0.0, torch.nan]]), "not all finite"),
        (torch.zeros(1), "not one row"),
        (torch.zeros(2, 3), "not one row"),
        (torch.zeros(1, 3, 4), "not one row"),
    ],
)
def test_refuses_output_that_cannot_be_counted(output, message):
    with pytest.raises(EvaluationError, match=message):
        finite_logits(lambda x: output, torch.zeros(1, 2))


def test_of_equal_logits_the_first_class_wins():
    logits = torch.tensor([[1.0, 1.0, 0.0]]).expand(3, 3)
    assert is_correct(lambda x: logits, torch.zeros(3, 2), torch.arange(3)).tolist() == [True, False, False]

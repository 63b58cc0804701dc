"""An explicit loss under DistributedDataParallel: two processes end with the gradients of the joined batch."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from jacexp.jacobian import explicit_loss, value_and_grads
from tests.jacobian.test_passes_explicit import objective
from tests.networks import body, images, labels


class Loss(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, y):
        return explicit_loss(self.net, x, y, objective("loss_ibp", 0.5)).loss


def train(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    net = body("conv")
    loss = nn.parallel.DistributedDataParallel(Loss(net))
    half = slice(3 * rank, 3 * rank + 3)
    loss(images(6)[half], labels(6)[half]).backward()
    torch.save({name: p.grad for name, p in net.named_parameters()}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_two_processes_have_the_gradients_of_the_joined_batch(tmp_path):
    mp.spawn(train, args=(str(tmp_path),), nprocs=2)
    _, expected = value_and_grads(body("conv"), images(6), labels(6), objective("loss_ibp", 0.5))
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(found, expected)

"""scripts/benchmark.py profile: where a fused step's time goes."""

import pytest
import torch

from jacexp.benchmark.profiling import profile_stack


@pytest.mark.parametrize("method", ["spec", "none"])
def test_operations_and_their_shares(method):
    found = profile_stack(method, 2, n_steps=2, batch_size=4, device=torch.device("cpu"))
    shares = [row["share"] for row in found["operations"]]
    assert shares == sorted(shares, reverse=True)
    assert 0.5 < sum(shares) <= 1
    calls = {row["name"]: row["calls"] for row in found["operations"]}
    assert calls["aten::mkldnn_convolution"] % 2 == 0  # as many for either network
    assert found["ms_per_network_step"] == pytest.approx(found["ms_per_step"] / 2)

"""train.precision=64: no number is rounded to float32 on its way, and the network is tested as it was trained."""

import csv

import pytest
import torch

from jacexp.data.spec import in_unit_range
from jacexp.evaluate.stored import evaluate_run, matching
from jacexp.store.checkpoint import load_network
from jacexp.train.fused import train_together
from jacexp.train.job import identify
from jacexp.train.loaders import loaders
from jacexp.train.run import run

WORDS = ("protocol=own", "train.epochs=1", "data.subset=60", "train.precision='64'")


@pytest.mark.parametrize("method", ["none", "tbp"])
def test_batches_are_bytes_over_255_in_float64(configure, method):
    job = identify(configure(f"+method={method}", *WORDS)).prepare()
    job.module.double()
    for images, x in zip(
        loaders(job, torch.device("cpu"))[1:], (job.data.x_val, job.data.x_test), strict=True
    ):
        batch = next(iter(images))
        assert torch.equal(batch.x, in_unit_range(x[: len(batch.x)], torch.float64))
    train = next(iter(loaders(job, torch.device("cpu"))[0]))
    assert train.x.dtype == torch.float64
    assert torch.equal((255 * train.x).round() / 255, train.x)
    if method == "tbp":
        assert train.tangents.dtype == torch.float64
        exact = job.module.method.tangents(job.data.in_shape, torch.device("cpu"), torch.float64)(train.x)
        torch.testing.assert_close(train.tangents, exact, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("fused", [False, True], ids=["alone", "in a stack"])
def test_the_network_that_is_tested_stored_and_evaluated_is_the_one_that_was_trained(
    configure, tmp_path, fused
):
    cfgs = [configure("+method=none", *WORDS, f"seed={seed}") for seed in range(2)]
    train_together(cfgs) if fused else [run(cfg) for cfg in cfgs]
    job = identify(cfgs[0])
    net = load_network(job.directory)
    assert {t.dtype for t in net.state_dict().values() if t.is_floating_point()} == {torch.float64}
    weight = next(net.parameters())
    assert not torch.equal(weight, weight.float().double())
    x, y = in_unit_range(job.data.x_test, torch.float64), job.data.y_test
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(net(x), y).item()
    assert job.directory.result()["row"]["test_loss"] == pytest.approx(loss, rel=1e-13)
    (first, _) = matching(tmp_path, {"seed": ["0", "1"]})
    for name in ("accuracy", "pgd", "jacobian"):
        few = {} if name == "accuracy" else {"n_samples": 4}
        evaluate_run(tmp_path, first, name, few)
    with (tmp_path / "curves.csv").open() as file:
        means = [float(row["mean"]) for row in csv.DictReader(file) if row["statistic"] == "cross_entropy"]
    assert means == [pytest.approx(loss, rel=1e-13)]

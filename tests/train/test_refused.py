"""What cannot be run, and a checkpoint that cannot be read, is one clear error."""

import pytest
import torch

from jacexp.errors import ConfigError, StoreError
from jacexp.store.checkpoint import load_network, read_checkpoint
from jacexp.store.runs import RunDirectory
from jacexp.train.run import run


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ((), "add \\+method=NAME"),
        (("+method=spec", "method.lam=-1"), "method.lam=-1: choose a finite number ≥ 0"),
        (("+method=spec", "method.n_iter=0"), "method.n_iter=0: choose a whole number, 1 or more"),
        (("+method=spec", "method.lam=high"), "method.lam=high: choose"),
        (("+method=spec", "+method.lamda=1"), "method.lamda is unknown.*SpectralNorm takes method.lam"),
        (("+method=spec", "method.lam=nan"), "method.lam=nan: choose a finite number"),
        (("+method=loss_ibp", "method.beta=inf"), "method.beta=inf: choose a finite number"),
        (("+method=tbp", "method.sigma=nan"), "method.sigma=nan: choose a finite number"),
        (("+method=none", "train.batch_size=2000"), "exceeds the 1293 training images"),
        (("+method=none", "train.batch_size=0"), "at least 1"),
        (("+method=none", "train.epochs=0"), "at least 1"),
        (("+method=none", "train.lr=0"), "above 0"),
        (("+method=none", "train.momentum=1"), r"\[0, 1\)"),
        (("+method=none", "train.precision=16"), "train.precision=16 is not one of"),
        (("+method=none", "select=test"), "holdout, paper"),
        (("+method=none", "seed=-1"), "must not be negative"),
        (("+method=none", "train.device=tpu"), "auto, cpu, gpu"),
        (("+method=none", "data.subset=5000"), "1437"),
        (("+method=none", "model=vgg16_bn"), "vgg16_bn"),
        (("+method=none", "model=lenet", "model.name=alexnet"), "alexnet"),
        (
            ("+method=none", "protocol.name=ibp"),
            "protocol.name=ibp labels another protocol, with protocol.paper=spec",
        ),
        (("+method=none", "protocol.name=spectral_vgg"), "with protocol.datasets="),
        (("+method=none", "method._target_=jacexp.store.runs.RunDirectory"), "jacexp.methods.Method"),
        (("+method=none", "method._target_=jacexp.methods.nothing.Here"), "cannot be imported"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_written(configure, tmp_path, overrides, says):
    with pytest.raises(ConfigError, match=says):
        run(configure(*overrides))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_checkpoint_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "last.ckpt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StoreError, match=r"last\.ckpt is (missing|damaged)"):
        load_network(RunDirectory(tmp_path))


def test_a_checkpoint_never_executes_what_it_says(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (print, ("executed",))

    torch.save({"network": Bomb()}, tmp_path / "last.ckpt")
    with pytest.raises(StoreError, match="damaged or foreign"):
        read_checkpoint(tmp_path / "last.ckpt", "")

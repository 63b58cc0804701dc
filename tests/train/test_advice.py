"""What an error advises helps: a file that cannot be used is removed as it says, and the same command goes on."""

import re
import shutil
from pathlib import Path

import pytest

from jacexp.errors import JacexpError, StoreError
from jacexp.store.checkpoint import load_network, read_checkpoint, save_checkpoint
from jacexp.store.runs import write_json
from jacexp.train import result as result_module
from jacexp.train.job import identify
from jacexp.train.run import run

SHORT = ("+method=none", "data.subset=60", "data.holdout=30", "train.batch_size=20", "train.epochs=2")


def follow(error, path):
    """Delete what an error says that is to be deleted."""
    (deleted,) = re.findall(r"; delete (\S+) ", str(error))
    where = Path(path if deleted == "it" else deleted)
    shutil.rmtree(where) if where.is_dir() else where.unlink()


def missing(path, other):
    path.unlink()


def damaged(path, other):
    path.write_bytes(path.read_bytes()[:-100])


def another_run_s(path, other):
    shutil.copy(other, path)


def another_program_s(path, other):
    save_checkpoint(path, {"weights": 1})


def another_architecture_s(path, other):
    content = nameless(other)
    content["network"]["name"] = "unknown"
    save_checkpoint(path, {"run": path.parent.name, **content})


def nameless(path):
    """Read a checkpoint as version 0.1 wrote it."""
    content = read_checkpoint(path, "")
    del content["run"]
    return content


HARM = [missing, damaged, another_run_s, another_program_s, another_architecture_s]


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("checkpoint", ["last", "best"])
def test_a_checkpoint_of_a_run_that_is_over(configure, checkpoint, harm):
    cfgs = [configure(*SHORT, "checkpoint=best", f"seed={seed}") for seed in range(2)]
    for cfg in cfgs:
        run(cfg)
    directory, other = (identify(cfg).directory for cfg in cfgs)
    path = directory / f"{checkpoint}.ckpt"
    harm(path, other / f"{checkpoint}.ckpt")
    with pytest.raises(StoreError, match=rf"{checkpoint}\.ckpt is .*delete .* train run") as error:
        load_network(directory, checkpoint)
    follow(error.value, path)
    assert run(cfgs[0])["status"] == "done"
    load_network(directory, checkpoint)


@pytest.mark.parametrize("harm", HARM)
def test_the_best_checkpoint_of_a_run_that_goes_on(configure, monkeypatch, harm):
    cfgs = [configure(*SHORT, "checkpoint=best", f"seed={seed}") for seed in range(2)]
    run(cfgs[1])
    directory, other = (identify(cfg).directory for cfg in cfgs)
    with monkeypatch.context() as patch:
        patch.setattr(result_module, "load_network", lambda *_: 1 / 0)
        with pytest.raises(JacexpError, match="failed"):
            run(cfgs[0])
    harm(directory / "best.ckpt", other / "best.ckpt")
    with pytest.raises(StoreError, match=r"best\.ckpt is ") as error:
        run(cfgs[0])
    follow(error.value, directory / "best.ckpt")
    assert run(cfgs[0])["status"] == "done"


@pytest.mark.parametrize("harm", [damaged, another_run_s, another_program_s])
def test_what_an_interrupted_run_goes_on_from(configure, monkeypatch, harm):
    cfgs = [configure(*SHORT, f"seed={seed}") for seed in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(result_module, "load_network", lambda *_: 1 / 0)
        for cfg in cfgs:
            with pytest.raises(JacexpError, match="failed"):
                run(cfg)
    path, other = (identify(cfg).directory / "resume.ckpt" for cfg in cfgs)
    harm(path, other)
    with pytest.raises(StoreError, match=r"resume\.ckpt is ") as error:
        run(cfgs[0])
    follow(error.value, path)
    assert not path.exists()
    assert run(cfgs[0])["status"] == "done"


def test_a_result_of_another_run(configure):
    cfgs = [configure(*SHORT, f"seed={seed}") for seed in range(2)]
    for cfg in cfgs:
        run(cfg)
    directory, other = (identify(cfg).directory for cfg in cfgs)
    another_run_s(directory / "result.json", other / "result.json")
    for use in (lambda: run(cfgs[0]), lambda: load_network(directory)):
        with pytest.raises(StoreError, match=rf"result\.json is of run {other.id}") as error:
            use()
    follow(error.value, directory / "result.json")
    assert run(cfgs[0])["row"]["run"] == directory.id


def test_a_checkpoint_without_a_name_is_known_by_its_architecture(configure):
    cfg = configure(*SHORT)
    result = run(cfg)
    directory = identify(cfg).directory
    save_checkpoint(directory / "last.ckpt", nameless(directory / "last.ckpt"))
    load_network(directory)
    write_json(directory / "result.json", {**result, "row": {**result["row"], "model": "convnet_mnist"}})
    with pytest.raises(StoreError, match=r"last\.ckpt is another run's"):
        load_network(directory)

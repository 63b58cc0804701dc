"""Networks of a user's own, by the import path of their class."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from jacexp.errors import ConfigError, StoreError
from jacexp.store.checkpoint import load_network, read_checkpoint, save_checkpoint
from jacexp.train.fused import train_together
from jacexp.train.groups import compatible_groups
from jacexp.train.job import identify
from jacexp.train.run import run

ROOT = Path(__file__).parents[2]
HERE = "tests.train.own_things"
TINY = ("+method=spec", "data.subset=40", "data.holdout=20", "train.epochs=1", "train.batch_size=20")
RESIDUAL = (f"+model._target_={HERE}.Residual", "+model.width=3")

WRONG = {
    f"{HERE}.Residul": "cannot be imported (AttributeError",
    "no_such_package.Net": "No module named 'no_such_package'); put the folder of its package on PYTHONPATH",
    "null": "model._target_: there is no such key; model has name, init, pool, filters",
    "null +model.width=3": "model._target_: there is no such key",
    f"{HERE}.NOTHING": "is a int, neither a class nor a function",
    "builtins.dict": "makes a dict, not a torch.nn.Module",
    f"{HERE}.Residual +model.widht=3": "model.widht is unknown (did you mean width?): Residual takes model.",
    f"{HERE}.Residual +model.width=wide": "model.width=wide: choose a whole number",
    f"{HERE}.Residual +model.norm=layer": "model.norm=layer: choose one of batch, none",
    f"{HERE}.Residual model.filters=[3]": "model.filters and model.pool are the ConvNets' alone",
    f"{HERE}.Perceptron +model.width=1.5": "model.width=1.5: choose a whole number",
    f"{HERE}.Perceptron +model.layer=new": "cannot be made: 'new'",
    f"{HERE}.Pair": "Pair returns a tuple for 2 images of 10 classes; a network must return their logits, (2, 10)",
    f"{HERE}.Wide": "Wide returns a tensor (2, 1000) for 2 images of 10 classes",
    f"{HERE}.Scaled": "Scaled.scale has no initial value",
    f"{HERE}.Broken": "cannot be made: no such file",
    f"{HERE}.Named": "takes an argument filters, and model.filters is a key of jacexp's own: rename it",
    f"{HERE}.LeNet": "would be reported as LeNet: set model.name to another",
    f"{HERE}.Residual model.name='a,b'": "model.name='a,b': choose a name without slashes and commas",
    "torch.nn.Linear +model.out_features=10": "Linear fails in eval mode on a batch (2, 1, 28, 28)",
    "torch.nn.Flatten": "Flatten has no parameters",
    f"{HERE}.Perceptron +model.layer=batch_norm data.subset=41": "fails in train mode on a batch (1, 1, 28, 28)",
}


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_network_is_refused_in_one_line(configure, tmp_path, words):
    target, *others = words.split()
    with pytest.raises(ConfigError) as refused:
        identify(configure(*TINY, f"+model._target_={target}", *others)).rehearse()
    assert WRONG[words] in str(refused.value)
    assert "\n" not in str(refused.value)
    with pytest.raises(ConfigError):
        run(configure(*TINY, f"+model._target_={target}", *others))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("layer", ["dropout", "layer_norm", "batch_norm"])
def test_a_network_of_ones_own_trains_and_is_loaded_again(configure, layer):
    cfg = configure(*TINY, f"+model._target_={HERE}.Perceptron", f"+model.layer={layer}")
    assert run(cfg)["status"] == "done"
    net = load_network(identify(cfg).directory)
    assert net.origin["target"] == f"{HERE}.Perceptron"
    assert net.origin["arguments"] == {"layer": layer, "width": 8}
    assert net(torch.rand(3, 1, 28, 28)).shape == (3, 10)


def test_the_row_of_a_run_holds_the_arguments_of_its_class(configure):
    row = run(configure(*TINY, f"+model._target_={HERE}.Perceptron", "+model.width=6"))["row"]
    assert json.loads(row["options"]).items() >= {"model.layer": "dropout", "model.width": 6}.items()


def test_initial_weights_are_the_seeds_and_the_classs_own(configure):
    target = f"+model._target_={HERE}.Residual"
    weights = [
        identify(configure(*TINY, target, *words)).module.net.state_dict()
        for words in ((), (), ("seed=1",), ("model.init=toolbox",))
    ]
    first, again, other, toolbox = (w["body.first.bias"] for w in weights)
    assert first.equal(again)
    assert not first.equal(other)
    assert first.all()
    assert not toolbox.any()


def test_the_name_of_a_run_holds_the_class_and_its_arguments(configure):
    def name(*words):
        return identify(configure(*TINY, *words)).directory.id

    target = f"+model._target_={HERE}.Residual"
    assert name(target) == name(target, "+model.width=4") == name(target, "model.name=Residual")
    others = [
        (),
        (target, "+model.width=3"),
        (target, "model.name=mine"),
        (f"+model._target_={HERE}.Perceptron",),
    ]
    assert len({name(target), *(name(*words) for words in others)}) == 5


def test_a_stack_of_ones_own_networks_gives_each_its_numbers(configure, tmp_path):
    def cfg(seed, results):
        words = (*TINY, *RESIDUAL, f"seed={seed}", "train.precision='64'")
        return configure(*words, results=tmp_path / results)

    assert len(compatible_groups([identify(cfg(seed, "fused")) for seed in (0, 1)])) == 1
    train_together([cfg(0, "fused"), cfg(1, "fused")])
    run(cfg(1, "alone"))
    fused, alone = (identify(cfg(1, results)).directory.result()["row"] for results in ("fused", "alone"))
    assert fused["test_loss"] == pytest.approx(alone["test_loss"], rel=1e-9)


def test_a_network_without_rules_is_trained_alone_and_says_why(configure, capsys):
    words = (*TINY, f"+model._target_={HERE}.Perceptron", "+model.layer=layer_norm")
    jobs = [identify(configure(*words, f"seed={seed}")) for seed in range(2)]
    assert compatible_groups(jobs) == [[job] for job in jobs]
    assert "Perceptron is trained one by one, not fused: no rule for LayerNorm" in capsys.readouterr().out


def test_a_class_that_is_gone_or_changed_is_one_clear_error(configure):
    cfg = configure(*TINY, *RESIDUAL)
    run(cfg)
    directory = identify(cfg).directory
    content = read_checkpoint(directory / "last.ckpt", "")
    for change, said in (
        (
            {"target": "gone.Net"},
            "needs the class of its network: model._target_=gone.Net cannot be imported",
        ),
        ({"arguments": {"width": 5}}, "is no longer the class that was trained"),
    ):
        save_checkpoint(directory / "last.ckpt", {**content, "network": {**content["network"], **change}})
        with pytest.raises(StoreError, match=said) as refused:
            load_network(directory)
        assert "\n" not in str(refused.value)


def test_an_mlp_takes_images_and_widths(configure):
    cfg = configure(*TINY, "model=mlp", "model.hidden=[8]")
    assert run(cfg)["row"]["model"] == "mlp"
    with pytest.raises(ConfigError, match=r"model\.hidden=8: choose a list of values, each a whole number"):
        identify(configure(*TINY, "model=mlp", "model.hidden=8"))


def test_a_users_yaml_and_package_from_outside_of_the_checkout(tmp_path):
    (tmp_path / "mine.py").write_text(Path(__file__).with_name("own_things.py").read_text())
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "small.yaml").write_text(
        "_target_: mine.Residual\nname: small\nwidth: 2\n"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def call(script, *words):
        command = [sys.executable, str(ROOT / script), *words]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    words = ("model=small", "model.width=3", "train.device=cpu", "progress=off", *TINY)
    trained = call("train.py", "--config-dir=conf", *words)
    assert trained.returncode == 0, trained.stderr
    assert ": small, protocol" in trained.stdout
    (result,) = (tmp_path / "my_results" / "runs").glob("*/result.json")
    assert json.loads(result.read_text())["row"]["model"] == "small"
    evaluated = call("scripts/evaluate.py", "eval=accuracy", "model=small", "device=cpu")
    assert evaluated.returncode == 0, evaluated.stderr

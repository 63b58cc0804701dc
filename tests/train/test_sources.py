"""A class of the user's own whose file changes while runs of it are there."""

import importlib
import sys

import pytest

from jacexp.train.job import identify
from jacexp.train.run import run
from jacexp.train.sources import changes

SOURCE = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, in_features, n_classes):
        super().__init__(nn.Flatten(), nn.Linear(in_features, n_classes))
"""
TINY = ("+method=none", "protocol=own", "train.epochs=1", "train.device=cpu", "data.subset=60")


@pytest.fixture
def net_file(tmp_path, monkeypatch):
    """The file of a class of one's own, importable, and the words that choose it."""
    folder = tmp_path / "code"
    folder.mkdir()
    path = folder / "a_net_that_changes.py"
    path.write_text(SOURCE)
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    yield path, (*TINY, f"+model._target_={path.stem}.Net")
    sys.modules.pop(path.stem, None)


def test_a_file_that_changed_since_a_run_began_is_named_and_the_run_is_left_alone(
    configure, net_file, tmp_path, capsys
):
    path, words = net_file
    cfgs = [configure(*words, f"seed={seed}", results=tmp_path / "results") for seed in (0, 1)]
    results = [run(cfg) for cfg in cfgs]
    assert run(cfgs[0]) == results[0]
    assert "warning" not in capsys.readouterr().err
    path.write_text(SOURCE + "# a comment\n")
    assert run(cfgs[0]) == results[0]
    first, other = (identify(cfg).directory.id for cfg in cfgs)
    said = f"model._target_={path.stem}.Net: its file has changed since run {first} began, whose numbers are the old"
    assert f"warning: {said}" in capsys.readouterr().err
    (together,) = changes((cfg, identify(cfg).directory) for cfg in cfgs)
    assert f"since run {first} and 1 more began" in together
    assert other != first


def test_classes_of_the_project_and_of_torch_have_versions_and_no_file_of_their_own(configure, tmp_path):
    cfg = configure(*TINY, results=tmp_path / "results")
    run(cfg)
    assert not (identify(cfg).directory / "sources.json").exists()
    assert changes([(cfg, identify(cfg).directory)]) == []

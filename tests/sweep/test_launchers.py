"""A launcher's settings become an executor, or one clear error before anything is trained."""

import sys

import pytest

from jacexp.errors import JacexpError
from jacexp.sweep.launchers import make_executor


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("processes", {"n_jobs": 0}, "n_jobs=0 must be at least 1"),
        ("ray", {"num_gpus": -1}, "num_gpus=-1 must be at least 0"),
        ("threads", {}, "executor=threads is not one of in_process"),
    ],
)
def test_an_impossible_executor_is_refused(tmp_path, name, settings, says):
    with pytest.raises(JacexpError, match=says):
        make_executor(name, tmp_path, **settings)


@pytest.mark.parametrize(("name", "extra"), [("submitit", "slurm"), ("ray", "ray")])
def test_a_library_that_is_missing_is_named_with_its_extra(tmp_path, monkeypatch, name, extra):
    monkeypatch.setitem(sys.modules, name, None)
    settings = {"cluster": "local"} if name == "submitit" else {
        "address": None, "num_cpus": 1, "num_gpus": 0, "max_retries": 0,
    }  # fmt: skip
    with pytest.raises(JacexpError, match=rf'needs {name}.*pip install "jacexp\[{extra}\]"'):
        make_executor(name, tmp_path, **settings)

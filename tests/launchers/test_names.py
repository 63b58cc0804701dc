"""Installing jacexp changes no launcher of another Hydra program, and the short names mean jacexp's in train.py."""

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher

from hydra_plugins.jacexp_launcher.config import NAMES
from jacexp.train.commandline import LAUNCHERS, checked_arguments

PUBLIC = {"basic", "joblib", "ray", "ray_aws", "rq", "submitit_local", "submitit_slurm"}


def test_no_name_is_that_of_a_public_plugin():
    Plugins.instance().discover(Launcher)
    store = ConfigStore.instance()
    ours = {
        name.removesuffix(".yaml")
        for name in store.list("hydra/launcher")
        if store.load(f"hydra/launcher/{name}").provider == "jacexp"
    }
    assert ours == {f"jacexp_{name}" for name in NAMES} == set(LAUNCHERS.values())
    assert not ours & PUBLIC


def test_train_py_reads_the_short_names_and_leaves_others_alone():
    for name in NAMES:
        words = checked_arguments(["+method=none", f"hydra/launcher={name}", "-m"])
        assert words == ["+method=none", f"hydra/launcher=jacexp_{name}", "-m"]
    assert checked_arguments(["hydra/launcher=joblib", "-m"]) == ["hydra/launcher=jacexp_processes", "-m"]
    assert checked_arguments(["hydra/launcher=basic", "-m"]) == ["hydra/launcher=basic", "-m"]

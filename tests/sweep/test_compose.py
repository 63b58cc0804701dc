"""A sweep's jobs are composed as Hydra composes them, with the files read once."""

from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from jacexp.sweep.compose import Composer
from jacexp.train.config import register

CONF = Path(__file__).parents[2] / "conf"
MASTER = ["+method=spec", "hydra/launcher=jacexp_processes", "hydra.launcher.n_jobs=3", "seed=0,1"]

SAME_FILES = [
    ["+method=spec", "seed=1"],
    ["+method=spec", "seed=2", "train.lr=1e-3", "method.lam=0.1"],
    ["+method=spec", "train={lr: 0.5, momentum: 0.9}", "train.lr=0.1"],
    ["+method=spec", "train.lr=0.1", "train={lr: 0.5, momentum: 0.9}"],
    ["+method=spec", "model={name: lenet, init: torch}", "model.filters=[8,16]"],
    ["+method=spec", "++method.n_iter=3", "+grid.depth='range(3)'"],
    ["+method=spec", "data.subset=60", "data.subset=null", "paths.results='a, b=${seed}'", "~grid.seed"],
]
OTHER_FILES = [
    ["seed=1", "dataset=mnist", "+method=loss_ibp", "method.beta=0.1", "model=vgg16_bn"],
    ["+method=none", "hydra.verbose=true", "seed=1"],
]
WRONG = [
    ["+method=spec", "seed=one"],
    ["+method=spec", "seeds=1"],
    ["+method=spectral"],
    ["+method=spec", "model=alexnet"],
    ["method=spec"],
]


@pytest.fixture(scope="module")
def hydra():
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        return hydra.config_loader, hydra.compose_config("config", MASTER, RunMode.MULTIRUN)


def everything(config):
    """What a configuration holds, with its interpolations, its type and its flags."""
    nodes = [config, *(OmegaConf.select(config, key) for key in ("train", "method", "grid"))]
    about = [(OmegaConf.get_type(n), OmegaConf.is_struct(n), OmegaConf.is_readonly(n)) for n in nodes]
    return OmegaConf.to_container(config), about


def by_hydra(loader, master, words):
    config = loader.load_sweep_config(master, words)
    OmegaConf.set_struct(config, False)
    del config["hydra"]
    OmegaConf.set_struct(config, True)
    return config


def test_a_job_s_configuration_is_hydra_s(hydra):
    compose = Composer(*hydra)
    for words in [*SAME_FILES, *OTHER_FILES, *SAME_FILES]:
        assert everything(compose(words)) == everything(by_hydra(*hydra, words))


@pytest.mark.parametrize("words", WRONG)
def test_what_cannot_be_composed_is_refused_as_by_hydra(hydra, words):
    compose = Composer(*hydra)
    compose(["+method=spec", "seed=0"])
    with pytest.raises(HydraException):
        hydra[0].load_sweep_config(hydra[1], words)
    with pytest.raises((HydraException, OmegaConfBaseException)):
        compose(words)


def test_files_are_read_once_for_all_jobs_that_choose_the_same(hydra, monkeypatch):
    loader, master = hydra
    asked = []
    real = loader.load_sweep_config
    monkeypatch.setattr(loader, "load_sweep_config", lambda *a: (asked.append(a[1]), real(*a))[1])
    compose = Composer(loader, master)
    for seed in range(20):
        compose(["+method=spec", f"seed={seed}", f"train.lr={0.1 * seed}", "method.lam=0.1"])
    assert asked == [["+method=spec"]]


def test_jobs_do_not_share_what_they_change(hydra):
    compose = Composer(*hydra)
    first, second = (compose(["+method=spec", f"seed={s}"]) for s in (1, 2))
    first.train.lr = 7.0
    assert second.train.lr != 7.0
    assert (first.seed, second.seed) == (1, 2)

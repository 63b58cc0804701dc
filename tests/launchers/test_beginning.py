"""How a sweep begins: jobs are composed as Hydra composes them, the folder is tried, what takes long is said."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import CompactHydraException, HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf

from hydra_plugins.jacexp_launcher import _core
from hydra_plugins.jacexp_launcher._composer import Composer
from jacexp.errors import JacexpError, StoreError
from jacexp.train.config import register
from jacexp.train.sweep import SweepRun

CONF = Path(__file__).parents[2] / "conf"
MASTER = ["+method=spec", "hydra/launcher=joblib", "hydra.launcher.n_jobs=3", "seed=0,1"]

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
        master = hydra.compose_config("config", MASTER, RunMode.MULTIRUN)
        assert master.hydra.sweep.dir  # resolved, as by Hydra's sweeper: one time for all jobs
    return hydra.config_loader, master


def everything(config):
    """What a configuration holds, with its interpolations, its type and its flags."""
    keys = ["train", "method", "grid"] + (["hydra", "hydra.job"] if "hydra" in config else [])
    nodes = [config, *(OmegaConf.select(config, key) for key in keys)]
    about = [(OmegaConf.get_type(n), OmegaConf.is_struct(n), OmegaConf.is_readonly(n)) for n in nodes]
    return OmegaConf.to_container(config), about, config._metadata.resolver_cache


def without_hydra(config):
    with_all = config.copy()
    OmegaConf.set_struct(with_all, False)
    del with_all["hydra"]
    return OmegaConf.to_container(with_all)


def test_a_job_s_configuration_is_hydra_s(hydra):
    loader, master = hydra
    composer = Composer(loader, master)
    for number, words in enumerate([*SAME_FILES, *OTHER_FILES, *SAME_FILES]):
        theirs = loader.load_sweep_config(master, words)
        theirs.hydra.job.num = number
        OmegaConf.set_struct(theirs, False)
        theirs.hydra.job.id = number
        OmegaConf.set_struct(theirs, True)
        assert everything(composer.whole(words, number)) == everything(theirs)
        task = composer.task(words)
        assert OmegaConf.to_container(task) == without_hydra(theirs)
        assert OmegaConf.get_type(task) is OmegaConf.get_type(theirs)
        assert OmegaConf.is_struct(task)


@pytest.mark.parametrize("words", WRONG)
def test_what_cannot_be_composed_is_refused_in_hydra_s_words(hydra, words):
    loader, master = hydra
    composer = Composer(loader, master)
    composer.task(["+method=spec", "seed=0"])
    with pytest.raises(HydraException) as theirs:
        loader.load_sweep_config(master, words)
    for compose in (composer.task, lambda words: composer.whole(words, 0)):
        with pytest.raises(type(theirs.value)) as ours:
            compose(words)
        assert str(ours.value) == str(theirs.value)
        assert str(ours.value.__cause__) == str(theirs.value.__cause__)


def test_files_are_read_once_for_all_jobs_that_choose_the_same(hydra, monkeypatch):
    loader, master = hydra
    asked = []
    real = loader.load_sweep_config
    monkeypatch.setattr(loader, "load_sweep_config", lambda *a: (asked.append(a[1]), real(*a))[1])
    composer = Composer(loader, master)
    for words in SAME_FILES:
        composer.task(words)
        composer.whole(words, 0)
    assert asked == [["+method=spec"]]


def test_jobs_do_not_share_what_they_change(hydra):
    composer = Composer(*hydra)
    first, second = (composer.task(["+method=spec", f"seed={s}"]) for s in (1, 2))
    first.train.lr = 7.0
    assert second.train.lr != 7.0
    assert (first.seed, second.seed) == (1, 2)


@pytest.mark.parametrize(
    ("launcher", "config", "n_composed"),
    [
        ("JacexpLauncher", "a run", 0),
        ("JacexpLauncher", "another program's", 2),
        ("BasicLauncher", "a run", 2),
    ],
)
def test_a_sweeper_composes_only_what_the_launcher_does_not_compose_first(
    hydra, launcher, config, n_composed
):
    made = {plugin.__name__: plugin for plugin in Plugins.instance().discover()}
    settings = {"executor": "in_process", "fuse": False} if launcher == "JacexpLauncher" else {}
    sweeper, asked = made["JacexpSweeper"](max_batch_size=None), []
    sweeper.launcher = made[launcher](**settings)
    sweeper.config = sweeper.launcher.config = hydra[1] if config == "a run" else OmegaConf.create()
    loader = SimpleNamespace(load_sweep_config=lambda **given: asked.append(given["sweep_overrides"]))
    sweeper.hydra_context = SimpleNamespace(config_loader=loader)
    sweeper.validate_batch_is_legal([["seed=0"], ["seed=1"]])
    assert len(asked) == n_composed


@pytest.mark.parametrize("fails", ["mkdir", "save"])
def test_a_folder_that_cannot_be_written_is_one_error_before_anything_is_composed(
    hydra, monkeypatch, tmp_path, fails
):
    made = {plugin.__name__: plugin for plugin in Plugins.instance().discover()}
    sweeper = made["JacexpSweeper"](max_batch_size=None)
    sweeper.config = hydra[1].copy()
    sweeper.config.paths.results = tmp_path

    def full(*_):
        raise OSError(28, "No space left on device")

    if fails == "mkdir":
        (tmp_path / "sweeps").write_text("a file")
    else:
        monkeypatch.setattr(OmegaConf, "save", full)
    with pytest.raises(
        CompactHydraException, match=r"error: .*sweeps.* cannot be written .*paths.results=DIR"
    ):
        sweeper.sweep(["seed=0,1"])


def test_a_reason_that_cannot_be_written_down_is_said_and_ends_nothing(hydra, tmp_path, capsys):
    launcher = SimpleNamespace(config=hydra[1])
    run = SweepRun("seed=1", SimpleNamespace(train=SimpleNamespace(epochs=1)), error=JacexpError("too large"))
    (tmp_path / "sweep").write_text("a file where the sweep's folder was")
    sweep = _core._Sweep(tmp_path / "sweep", [run], launcher)
    sweep.ended(run, None)
    assert capsys.readouterr().err == "error: too large (seed=1)\n"
    with pytest.raises(StoreError, match="cannot be written"):
        sweep.begin()


def test_a_long_check_says_what_it_does(monkeypatch, capsys):
    monkeypatch.setattr(_core, "SLOW_S", 0.05)
    for progress in ("auto", "off"):
        with _core._said_if_slow("checking 680 jobs", progress):
            time.sleep(0.2)
    monkeypatch.setattr(_core, "SLOW_S", 60)
    with _core._said_if_slow("checking 2 jobs", "auto"):
        pass
    assert capsys.readouterr().out == "checking 680 jobs ...\n"

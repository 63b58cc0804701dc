"""Command lines of train.py that are wrong or odd: one error line, no traceback, and nothing is written."""

import runpy
import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from jacexp.train import run

TRAIN = Path(__file__).parents[2] / "train.py"


@pytest.fixture
def said(monkeypatch, capsys, tmp_path):
    """Run train.py in this process as if in a folder of its own and return its error line; no training may begin."""

    def trains(job):
        raise AssertionError("it trains")

    monkeypatch.setattr(run, "_train_and_record", trains)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "")  # train.py sets it

    def try_words(words):
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", [str(TRAIN), *words.split()])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(TRAIN), run_name="__main__")
        assert ended.value.code == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        assert not list(tmp_path.iterdir())
        return line.removeprefix("error: ")

    return try_words


UNKNOWN = {
    "train.epoch=3": "train.epoch: there is no such key; did you mean train.epochs?",
    "+train.optimizer=adam": "+train.optimizer=adam: choose train/optimizer=NAME, one of adam, adamw,",
    "train/optimizer=adamm": "train/optimizer=adamm: there is no such choice (did you mean adam?)",
    "train.optimizer.weight_decay=0.1": "train.optimizer.weight_decay: there is no such key",
    "train.scheduler=cosine": "train.scheduler=cosine: choose train.scheduler._target_=package.Class",
    "++data.subst=100": "data.subst: there is no such key; did you mean data.subset?",
    "+subset=100": "subset: there is no such key; did you mean dataset.subset or data.subset?",
    "+lr=0.1": "lr: there is no such key; did you mean train.lr?",
    "+methods=none": "methods: there is no such key; did you mean method?",
    "+trainer.max_steps=3": "trainer.max_steps: there is no such key",
    "+experiment=foo": "experiment: there is no such key",
    "experiment=foo": "experiment: there is no such key",
    "+hydra.foo=1": "hydra.foo: there is no such key",
    "+hydra.job.nam=x": "hydra.job.nam: there is no such key; did you mean hydra.job.name?",
    "+dataset.x=1": "dataset.x: there is no such key; dataset has name, path",
    "+model.kernel.size=3": "model.kernel.size: there is no such key",
    "train={lr:1,foo:2}": "train.foo: there is no such key",
    "+method.lamda=1": "+method.lamda=1: method spec takes method.lam,",
    "method.beta=1": "method.beta=1: method spec takes method.lam,",
    "+grid.depth=1": "+grid.depth=1: only a sweep reads it; add -m",
    "+grid.seed.x=1": "+grid.seed.x=1: only a sweep reads it; add -m",
    "+logger.foo=1": "names no class; choose logger=csv, tensorboard, wandb or mlflow",
    "hydra.launcher.n_jobs=2": "hydra.launcher.n_jobs=2: only a sweep reads it; add -m",
    "hydra/launcher=fused": "hydra/launcher=fused: only a sweep reads it; add -m",
    "train.gamma=0.5": "train.gamma=0.5: the schedule constant does not read it; that is for train",
    "protocol=own train.gamma=0.5": "train.gamma=0.5: the schedule cosine does not read it; that is for train",
    "train.schedule=constant train.gamma=0.5": "train.gamma=0.5: the schedule constant does not read it",
    "train.schedule=exponential train.step_epochs=5": "the schedule exponential does not read it; that is for",
}
"""Keys that nobody would read."""

VALUES = {
    "method.lam=nan": "method.lam=nan: choose a finite number ≥ 0",
    "method.lam=inf": "method.lam=inf: choose a finite number ≥ 0",
    "method.lam=-1": "method.lam=-1",
    "method.lam=high": "method.lam=high: choose a finite number ≥ 0",
    "method.n_iter=0": "method.n_iter=0: choose a whole number, 1 or more",
    "method.n_iter=1.5": "method.n_iter=1.5: choose a whole number, 1 or more",
    "method.power=3": "method.power=3",
    "method.detach=perhaps": "method.detach=perhaps: choose true or false",
    "method._target_=os.system": "method._target_=os.system is not a jacexp.methods.Method",
    "method._target_=here.There": "method._target_=here.There cannot be imported",
    "method.name=frob": "method.name=frob is that of jacexp.methods.frob.FrobeniusNorm, not of jacexp.methods.spec",
    "train.lr=nan": "train.lr=nan must be a finite number above 0",
    "train.lr=inf": "train.lr=inf must be a finite number above 0",
    "train.lr=0": "train.lr=0.0 must be a finite number above 0",
    "train.lr=fast": "train.lr: Value 'fast'",
    "train.lr=[1,2]": "train.lr: Value '[1, 2]'",
    "train.momentum=1": "momentum=1.0: choose a value in [0, 1)",
    "train.momentum=nan": "momentum=nan: choose a value in [0, 1)",
    "train.schedule=exponential train.gamma=0": "gamma=0.0: choose a value in (0, 1]",
    "train.schedule=linear": "train.schedule=linear is not one of constant, exponential, cosine, step",
    "train.step_epochs=0": "train.step_epochs=0 must be at least 1",
    "train.warmup_epochs=-1": "warmup_epochs=-1: choose fewer than the 50 epochs, or 0",
    "train.warmup_epochs=50": "warmup_epochs=50: choose fewer than the 50 epochs, or 0",
    "train.epochs=0": "train.epochs=0 must be at least 1",
    "train.epochs=-1": "train.epochs=-1 must be at least 1",
    "train.epochs=three": "train.epochs: Value 'three'",
    "train.epochs=null": "train.epochs: field 'train.epochs' is not Optional",
    "train.batch_size=1.5": "train.batch_size: Value '1.5'",
    "train.batch_size=0": "train.batch_size=0 must be at least 1",
    "train.batch_size=2000": "train.batch_size=2000 exceeds the 1293 training images",
    "train.devices=0": "train.devices=0 must be at least 1",
    "train.devices=64": "train.devices=64 exceeds train.batch_size=32",
    "train.device=tpu": "train.device=tpu is not one of auto, cpu, gpu",
    "train.precision=16": "train.precision=16 is not one of 32, bf16-mixed, 64",
    "train.engine=jax": "train.engine=jax is not one of auto, autograd, passes",
    "data.subset=0": "data.subset=0 must be at least 1",
    "data.subset=5000": "subset=5000 must lie between 1 and the 1437 training images of digits",
    "data.holdout=nan": "data.holdout=nan must be a finite number above 0",
    "data.holdout=0": "data.holdout=0.0 must be a finite number above 0",
    "data.holdout=1.5": "holdout=1.5 must be a fraction below 1 or a whole number",
    "data.holdout=1e9": "leaves none to train on",
    "data.augment=crop": "data.augment=crop is not one of none, crop_flip, affine, affine_text",
    "data=null": "data: field 'data' is not Optional",
    "seed=1e3": "seed: Value '1000.0'",
    "seed=-1": "seed=-1 must not be negative",
    "seed=null": "seed: field 'seed' is not Optional",
    "seed=${foo}": "seed: Interpolation key 'foo' not found",
    "select=test": "select=test is not one of holdout, paper",
    "checkpoint=first": "checkpoint=first is not one of last, best",
    "progress=loud": "progress=loud is not one of auto, bar, lines, off",
    "paths.results=": "paths.results is empty",
    "paths.data=": "paths.data is empty",
    "paths=here": "paths: Invalid type assigned",
    "paths.results=/dev/null": "paths.results=/dev/null is no folder; name another",
    "model.filters=[]": "model.filters=[] must be numbers of at least 1",
    "model.filters=[0,4]": "model.filters=[0, 4] must be numbers of at least 1",
    "model.filters=[4,4]": "model=lenet has neither filters nor pool",
    "model.filters=3": "model.filters: Invalid value assigned",
    "model.name=alexnet": "model='alexnet' is unknown; choose one of lenet,",
    "model=vgg16_bn": "vgg16_bn",
    "dataset.name=imagenet": "dataset=imagenet is unknown; choose from digits,",
    "dataset.path=": "dataset.path is empty",
    "dataset.path=nowhere.npz": "dataset.path",
}
"""Values that cannot be."""

TORCH = "train.optimizer._target_=torch.optim."
RATE = "train.scheduler._target_=torch.optim.lr_scheduler."
OPTIMIZERS = {
    f"{TORCH}AdamWW": "has no attribute 'AdamWW') (did you mean AdamW?)",
    "train.optimizer._target_=AdamW": "train.optimizer._target_=AdamW cannot be imported",
    "train.optimizer._target_=torch.nn.Linear": "is no class of a torch.optim Optimizer",
    f"{TORCH}Optimizer": "is no class of a torch.optim Optimizer",
    f"{TORCH}LBFGS": "evaluates the loss several times a step, which is not supported here",
    f"{TORCH}SparseAdam": "is for sparse gradients, which is not supported here",
    f"{TORCH}Muon": "cannot be made: Muon only supports 2D parameters",
    f"{TORCH}AdamW train.optimizer.beta=0.9": "train.optimizer.beta is unknown (did you mean betas?)",
    f"{TORCH}AdamW train.optimizer.lr=0.1": "train.optimizer.lr: the learning rate is train.lr; leave this out",
    f"{TORCH}AdamW train.optimizer.fused=true": "train.optimizer.fused=True: leave it out",
    f"{TORCH}AdamW train.optimizer.maximize=true": "train.optimizer.maximize=True: leave it out",
    f"{TORCH}AdamW train.optimizer.weight_decay=-1": "train.optimizer.weight_decay=-1 must not be negative",
    f"{TORCH}AdamW train.optimizer.weight_decay=nan": "train.optimizer.weight_decay=nan: choose a finite number",
    f"{TORCH}AdamW train.optimizer.weight_decay=small": "train.optimizer.weight_decay=small: choose a finite number",
    f"{TORCH}AdamW train.optimizer.betas=0.9": "train.optimizer.betas=0.9: choose a list of values, each a finite",
    f"{TORCH}AdamW train.optimizer.betas=[0.9,2]": "cannot be made: Invalid beta parameter at index 1: 2",
    f"{TORCH}AdamW train.optimizer.amsgrad=1": "train.optimizer.amsgrad=1: choose true or false",
    f"{TORCH}SGD train.optimizer.nesterov=true": "cannot be made: Nesterov momentum requires a momentum",
    "train/optimizer=adamw train.momentum=0.9": "train.momentum=0.9: train.optimizer does not read train.momentum",
    "train/optimizer=adamw train.momentum_form=average": "train.optimizer does not read train.momentum_form",
    f"{RATE}StepLRR": "(did you mean StepLR?)",
    f"{RATE}StepLR": "train.scheduler.step_size is missing: StepLR takes train.scheduler.step_size,",
    f"{RATE}StepLR train.scheduler.step_size=0": "fails: integer modulo by zero",
    f"{RATE}StepLR train.scheduler.step_size=9 train.schedule=cosine": "train.scheduler does not read train.schedule",
    f"{RATE}ReduceLROnPlateau": "follows the validation loss; choose a schedule of the epoch alone",
    f"{RATE}OneCycleLR train.scheduler.max_lr=1 train.scheduler.total_steps=50": "set cycle_momentum=false",
    f"{RATE}LinearLR train.scheduler.end_factor=-1": "fails",
    "train.scheduler._target_=torch.optim.AdamW": "is no class of a torch.optim LRScheduler",
}
"""Optimisers and schedules that cannot train."""

CALL = "callbacks.x._target_="
BESIDE = {
    "+logger._target_=torch.nn.Linear": "logger._target_=torch.nn.Linear is no logger of Lightning's",
    "+logger._target_=pytorch_lightning.loggers.CSVLoger": "(did you mean CSVLogger?)",
    "logger=csv logger.nam=x": "logger.nam",
    "logger=csv +logger.nam=x": "logger.nam is unknown (did you mean name?)",
    "callbacks=early": "callbacks",
    "callbacks.x=early": "callbacks.x=early names no class: write callbacks.x._target_=package.Class",
    f"{CALL}torch.nn.Linear": "callbacks.x._target_=torch.nn.Linear is no pytorch_lightning.Callback",
    f"{CALL}pytorch_lightning.callbacks.EarlyStoping callbacks.x.monitor=val_loss": "(did you mean EarlyStopping?)",
    f"{CALL}pytorch_lightning.callbacks.EarlyStopping": "callbacks.x.monitor is missing",
    f"{CALL}pytorch_lightning.callbacks.EarlyStopping callbacks.x.monitor=a callbacks.x.mode=up": "cannot be made",
    f"{CALL}pytorch_lightning.callbacks.EarlyStopping callbacks.x.monitor=val_los": "=val_los is not one of train_loss",
    f"{CALL}pytorch_lightning.callbacks.ModelCheckpoint": "jacexp keeps the checkpoints",
}
"""Loggers and callbacks that are none."""

WORDS = {
    "+method=spek": "method=spek: there is no such choice (did you mean spec?); method is one of at, fast_at,",
    "method=none": "Could not override 'method'",
    "+method=": "+method=: there is no such choice; method is one of at,",
    "+method=null": "+method=null: there is no such choice",
    "+method=[spec,frob]": "would lose the grid of each method",
    "+method=spec,frob": "would lose the grid of each method",
    "": "no method was chosen: add +method=NAME, with one of at,",
    "seed=0": "no method was chosen",
    "+method=spec +method=none": "method is given twice, as +method=spec and as +method=none",
    "+method=spec seed=0 seed=1": "seed is given twice, as seed=0 and as seed=1; keep one",
    "+method=spec seed=0 ++seed=1": "seed is given twice",
    "+method=spec dataset=imagenet": "dataset=imagenet: there is no such choice; dataset is one of cifar10,",
    "+method=spec dataset=null": "dataset=null: there is no such choice",
    "+method=spec dataset=npz": "dataset.path=FILE.npz",
    "+method=spec model=alexnet": "model=alexnet: there is no such choice (did you mean lenet?); model is one of",
    "+method=spec protocol.name=ibp": "protocol.name=ibp would label runs only; choose a protocol by protocol=NAME",
    "+method=spec protocol=mine": "protocol=mine: there is no such choice; protocol is one of ibp, own,",
    "+method=spec logger=paper": "logger=paper: there is no such choice; logger is one of csv, mlflow,",
    "+method=spec paths.results=/dev/null/a": "paths.results=/dev/null/a is no folder, for /dev/null is a file",
    "+method=spec seed=0,1": "seed=0,1 has several values; add -m to train each of them",
    "+method=spec train.lr=interval(0,1)": "has several values; add -m",
    "+method=spec train.lr": "train.lr: cannot be read as KEY=VALUE",
    "+method=spec =3": "=3: write KEY=VALUE",
    "+method=spec a==b": "a==b: cannot be read as KEY=VALUE",
    "+method=spec ~seed": "~seed: a key cannot be removed",
    "+method=spec ~grid": "~grid: a key cannot be removed",
    "+method=spec ~grid.depth": "~grid.depth: only a sweep reads it; add -m",
    "+method=spec logger=null": "logger=null: there is no such choice; leave logger out",
    "+method=spec train/optimizer=": "train/optimizer=: there is no such choice; leave train/optimizer out",
    "+method=spec train/optimizer=AdamW": "train/optimizer=AdamW: there is no such choice (did you mean adamw?)",
    "+method=spec --dry": "--dry tells what a sweep would train: add -m",
    "+method=spec seed=0 grid=foo": "grid=foo: write grid=null for no grid",
}
"""Whole command lines."""

SWEEPS = {
    "grid=foo": "grid=foo: write grid=null for no grid",
    "--dry train.lr=-1": "train.lr=-1.0 must be a finite number above 0",
    "train.lr=interval(0,1)": "train.lr=interval(0,1): an interval has no end of values",
    "seed=range(0)": "the sweep has no job",
    "seed=choice()": "seed=choice()",
    "~grid": "~grid: a key cannot be removed",
    "train.lr=-1": "train.lr=-1.0 must be a finite number above 0",
    "method.lam=nan seed=0 train.lr=0.1 train.batch_size=8": "method.lam=nan: choose a finite number",
    "train.epochs=three": "train.epochs: Value 'three'",
    "train.epoch=3,4": "train.epoch: there is no such key",
    "+train.optimizer=adam": "+train.optimizer=adam: choose train/optimizer=NAME",
    "train/optimizer=adamw train.optimizer.lr=0.1,0.2": "train.optimizer.lr: the learning rate is train.lr",
    "+grid.depth=range(2)": "grid.depth: there is no such key",
    "~grid.depth": "grid.depth",
    "+grid.train.lr='0.1,0.2'": "write train.lr=VALUE or train.lr=VALUES, which take the place of the grid's",
    "~grid.method.lam": "write method.lam=VALUE or method.lam=VALUES",
    "hydra/launcher=null": "hydra/launcher=null: there is no such choice",
    "dataset=npz dataset.path=nowhere.npz": "nowhere.npz cannot be read",
    "paths.results=/dev/null": "paths.results=/dev/null is no folder; name another",
    "+hydra.foo=1": "hydra.foo: there is no such key",
    "hydra/launcher=fusedd": "hydra/launcher=fusedd: there is no such choice (did you mean fused?)",
    "hydra/launcher=basic": "hydra/launcher: choose one of sequential, fused, processes,",
    "hydra/sweeper=nevergrad": "hydra/sweeper=nevergrad: there is no such choice",
    "hydra.launcher.largest=0": "hydra.launcher.largest=0 must be at least 1",
    "hydra.launcher.n_jobs=2": "hydra.launcher.n_jobs: this launcher has no such setting",
    "+hydra.launcher.n_jobs=2": "hydra.launcher.n_jobs: there is no such key",
    "hydra.launcher.executor=threads": "hydra.launcher.executor=threads is not one of in_process,",
    "hydra/launcher=fused hydra.launcher.largest=0": "hydra.launcher.largest=0 must be at least 1",
    "hydra/launcher=joblib hydra.launcher.n_jobs=0": "hydra.launcher.n_jobs=0 must be at least 1",
    "hydra/launcher=processes hydra.launcher.n_jobs=two": "hydra.launcher.n_jobs: Value 'two'",
    "hydra/launcher=ray hydra.launcher.num_gpus=-1": "hydra.launcher.num_gpus=-1.0 must be at least 0",
    "hydra/launcher=submitit_slurm hydra.launcher.timeout_min=0": "hydra.launcher.timeout_min=0 must be",
}
"""What is wrong with every job of a sweep, or with the sweep."""


WRONG = UNKNOWN | VALUES | OPTIMIZERS | BESIDE


@pytest.mark.parametrize("word", WRONG)
def test_a_wrong_word_is_one_error_line(said, word):
    assert WRONG[word] in said(f"+method=spec {word}")


@pytest.mark.parametrize("words", WORDS)
def test_a_wrong_command_line_is_one_error_line(said, words):
    assert WORDS[words] in said(words)


@pytest.mark.parametrize("words", SWEEPS)
def test_a_sweep_that_cannot_be_is_one_error_line_and_leaves_no_folder(said, words):
    assert SWEEPS[words] in said(f"+method=spec -m {words}")

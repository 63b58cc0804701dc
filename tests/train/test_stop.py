"""A run that is asked to stop saves where it is, and ends bit for bit where it would have."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from jacexp.methods import RegularizedModule
from jacexp.methods.base import Sums
from jacexp.store.checkpoint import load_network, read_resume
from jacexp.store.runs import RunDirectory
from jacexp.train import job as job_module
from jacexp.train import recorder as recorder_module
from jacexp.train.job import prepare
from jacexp.train.recorder import Recorder
from jacexp.train.run import run
from jacexp.train.stop import Stopped, stop_requested, stop_signals

SHORT = (
    "data.subset=100",
    "data.holdout=50",
    "train.batch_size=20",
    "train.epochs=3",
)  # five batches an epoch


class Killed(BaseException):
    """The process is gone: nothing after it is done."""


def assert_equal_ends(cfg, other):
    """The two runs of one configuration left the same weights, epochs and row."""
    ends = [prepare(c).directory for c in (cfg, other)]
    for checkpoint in {"last", cfg.checkpoint}:
        one, two = (load_network(end, checkpoint).state_dict() for end in ends)
        assert one.keys() == two.keys()
        assert all(torch.equal(value, two[key]) for key, value in one.items())
    assert (ends[0] / "metrics.csv").read_text() == (ends[1] / "metrics.csv").read_text()
    varying = {"train_s": None, "started": None, "command": None}
    one, two = (end.result() for end in ends)
    assert {**one["row"], **varying} == {**two["row"], **varying}
    assert one["status"] == two["status"] == "done"
    assert {p.name for p in ends[0].path.iterdir()} == {p.name for p in ends[1].path.iterdir()}


def signalled(monkeypatch, name, at, signum=signal.SIGTERM):
    """Let the process receive the signal during call number `at` of a step of every method."""
    calls, step = [], getattr(RegularizedModule, name)

    def watched(self, batch, batch_idx):
        calls.append(batch_idx)
        if len(calls) == at:
            os.kill(os.getpid(), signum)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(RegularizedModule, name, watched)


def saved(cfg):
    """What the recorder put into the checkpoint to go on from."""
    content = read_resume(prepare(cfg).directory)
    return content["callbacks"]["Recorder"]


def with_dropout(*args, **settings):
    net = build(*args, **settings)
    net.body.append(nn.Dropout(0.3))  # has no parameters, so the checkpoint fits the network without it
    return net


build = job_module.build


@pytest.mark.parametrize(
    "overrides",
    [
        ("+method=none", "train.schedule=cosine", "checkpoint=best"),
        ("+method=spec",),
        ("+method=spec", "train.precision='64'"),
        ("+method=at", "dropout"),
        ("+method=tbp", "data.augment=affine", "method.precompute=false"),
        ("+method=fast_tbp", "data.augment=none"),
    ],
    ids=" ".join,
)
def test_a_run_that_is_stopped_again_and_again_ends_bit_for_bit(configure, tmp_path, monkeypatch, overrides):
    monkeypatch.setattr(Sums, "FLUSH", 3)  # so that an epoch has batches that are added up and some that wait
    if "dropout" in overrides:
        monkeypatch.setattr(job_module, "build", with_dropout)
    words = (*(word for word in overrides if word != "dropout"), *SHORT)
    whole, parts = (configure(*words, results=tmp_path / name) for name in ("whole", "parts"))
    run(whole)
    places, seconds = [], [0.0]
    while prepare(parts).directory.result() is None:
        with monkeypatch.context() as patch:
            signalled(patch, "training_step", at=2)
            try:
                run(parts)
            except Stopped as stop:
                places.append(str(stop).partition("is saved ")[2].partition(";")[0])
                seconds.append(saved(parts)["seconds"])
    within = "within epoch {}, after {} of 5 batches".format
    assert places == [
        *(within(1, 2), within(1, 4)),
        *(within(2, 1), within(2, 3), "after epoch 2 of 3"),
        *(within(3, 2), within(3, 4)),
    ]
    assert sorted(set(seconds)) == seconds, "the clock goes on as well"
    assert_equal_ends(parts, whole)


def test_a_request_during_validation_waits_for_the_epoch(configure, tmp_path, monkeypatch):
    whole, parts = (configure("+method=frob", *SHORT, results=tmp_path / name) for name in ("whole", "parts"))
    run(whole)
    with monkeypatch.context() as patch:
        signalled(patch, "validation_step", at=3)
        with pytest.raises(Stopped, match="is saved after epoch 3 of 3; the same command goes on"):
            run(parts)
    assert prepare(parts).directory.result() is None
    run(parts)
    assert_equal_ends(parts, whole)


def test_a_request_between_two_runs_starts_no_other(configure, tmp_path):
    with stop_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped, match="no run was under way"):
            run(configure("+method=none", *SHORT))
    assert not list(tmp_path.iterdir())


def test_a_long_epoch_is_saved_within_and_a_short_one_is_not(configure, tmp_path, monkeypatch):
    whole, parts = (configure("+method=spec", *SHORT, results=tmp_path / name) for name in ("whole", "parts"))
    looked, saved_at = Recorder.on_train_batch_end, []

    def killed(self, trainer, module, outputs, batch, batch_idx):
        looked(self, trainer, module, outputs, batch, batch_idx)
        saved_at.append((self.directory / "resume.ckpt").exists())
        if (trainer.current_epoch, batch_idx) == (1, 2):
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "on_train_batch_end", killed)
        with pytest.raises(Killed):
            run(whole)
        assert saved_at == 5 * [False] + 3 * [True]
        assert saved(whole)["within"] is None
        patch.setattr(recorder_module, "SAVE_EVERY", 0.0)
        with pytest.raises(Killed):
            run(parts)
        assert saved(parts)["within"]["batches"] == 3
    run(whole)
    monkeypatch.setattr(recorder_module, "SAVE_EVERY", 0.0)
    run(parts)
    assert_equal_ends(parts, whole)


def test_sums_go_on_from_their_state_to_the_last_bit(monkeypatch):
    monkeypatch.setattr(Sums, "FLUSH", 3)
    draw = torch.Generator().manual_seed(0)

    def batch():  # of so many sizes that the order of the additions decides the last digits
        x = torch.randn(6, 4, generator=draw).mul(8).exp()
        return (x[0, 0], x[:, 0], x[:, 1], x), torch.arange(6) % 4

    batches, whole, parts = [batch() for _ in range(8)], Sums(), Sums()
    for of in batches:
        whole.add(*of)
        parts.add(*of)
        parts.means()
        state = pickle.loads(pickle.dumps(parts.state_dict()))
        parts = Sums()
        parts.load_state_dict(state, "cpu")
    assert parts.means() == whole.means()
    assert parts.counts() == whole.counts()


def test_sigterm_in_a_validation_waits_for_the_epoch(configure, monkeypatch):
    """Lightning would end it there, and nothing would be saved."""
    cfg = configure(
        "+method=none", "data.subset=60", "data.holdout=30", "train.batch_size=20", "train.epochs=2"
    )
    with monkeypatch.context() as patch:
        kill = lambda *_: os.kill(os.getpid(), signal.SIGTERM)  # noqa: E731
        patch.setattr(RegularizedModule, "on_validation_epoch_start", kill)
        patch.setattr(RegularizedModule, "val_sums", Sums(), raising=False)
        with pytest.raises(Stopped, match="after epoch 1 of 2"):
            run(cfg)
    assert run(cfg)["status"] == "done"


@pytest.fixture
def ctrl_c():
    """Ctrl-C as in a terminal; a shell starts what runs in its background with that ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_is_a_request_while_it_is_watched_for(signum, code, capfd):
    before = signal.getsignal(signum)
    with stop_signals():
        assert not stop_requested()
        with stop_signals():
            os.kill(os.getpid(), signum)
        assert stop_requested(), "the inner one leaves it to the outer one"
        assert Stopped("saved").code == code
    assert not stop_requested()
    assert signal.getsignal(signum) is before
    assert ("press Ctrl-C again" in capfd.readouterr().err) == (signum == signal.SIGINT)


@pytest.mark.usefixtures("ctrl_c")
def test_a_second_ctrl_c_aborts_at_once():
    with stop_signals():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Stopped, match="aborted") as aborted:
            os.kill(os.getpid(), signal.SIGINT)
    assert aborted.value.code == 130


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_signals():
            os.kill(os.getpid(), signal.SIGINT)
            assert not stop_requested()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_installs_nothing():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def watch():
        with stop_signals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
    assert seen == [before]


def test_stopped_travels_between_processes_and_is_no_failure():
    stop = pickle.loads(pickle.dumps(Stopped("saved", signal.SIGINT)))
    assert (str(stop), stop.code) == ("saved", 130)
    assert not isinstance(stop, Exception)


@pytest.mark.slow
def test_sigterm_ends_a_sweep_with_one_line_and_the_same_command_ends_it(tmp_path):
    words = ("+method=none", "data.subset=200", "data.holdout=50", "train.batch_size=20", "train.epochs=20")
    command = [
        sys.executable,
        str(Path(__file__).parents[2] / "train.py"),
        *words,
        "-m",
        "train.lr=0.01",
        "seed=0,1",
    ]
    options = {"cwd": tmp_path, "text": True, "env": {**os.environ, "OMP_NUM_THREADS": "1"}}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*command, f"paths.results={tmp_path}"], **options, **pipes) as process:
        while not list(tmp_path.glob("runs/*/resume.ckpt")):
            assert process.poll() is None
            time.sleep(0.01)
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    (line,) = errors.splitlines()
    assert line.startswith("stopped: run ")
    assert line.endswith("; the same command goes on")
    (begun,) = tmp_path.glob("runs/*")
    assert RunDirectory(begun).result() is None
    again = subprocess.run(
        [*command, f"paths.results={tmp_path}"], **options, capture_output=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 3

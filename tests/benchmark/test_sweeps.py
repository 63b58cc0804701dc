"""scripts/benchmark.py sweep: steps of networks a second."""

from types import SimpleNamespace

import pytest

from jacexp.benchmark import sweeps
from jacexp.benchmark.sweeps import network_steps_per_second


@pytest.mark.parametrize(("n_jobs", "n_networks", "rate"), [(1, 4, 5), (2, 4, 10), (2, 1, 5)])
def test_processes_that_work_at_the_same_time_share_the_time(monkeypatch, n_jobs, n_networks, rate):
    """Each run takes two seconds of its process for ten steps."""
    ended, largest = {"row": {"train_s": 2.0}}, []
    monkeypatch.setattr(sweeps, "lenets", lambda _, method, n, *__: [method] * n)
    monkeypatch.setattr(sweeps, "plan", lambda jobs: [SimpleNamespace(over=lambda: ended) for _ in jobs])
    monkeypatch.setattr(sweeps, "train_missing", lambda *_, **how: largest.append(how["largest"]))
    about = {"method": "none", "n_networks": n_networks, "n_steps": 10, "batch_size": 1}
    assert network_steps_per_second(SimpleNamespace(n_jobs=n_jobs), fuse=True, **about) == rate
    assert largest == [-(-n_networks // n_jobs)]

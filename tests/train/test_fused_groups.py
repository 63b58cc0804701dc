"""Which runs are trained as one stack, and which are not."""

import pytest

from jacexp.store.runs import write_json
from jacexp.train.fused import train_together
from jacexp.train.groups import compatible_groups
from jacexp.train.job import Job, identify
from jacexp.train.run import run
from tests.results import result
from tests.train.grid import TINY, grid


def test_groups(configure, tmp_path):
    cfgs = [
        *grid(configure, "spec"),
        configure("+method=spec", *TINY, "method.n_iter=2"),
        configure("+method=spec", *TINY, "method.lam=0"),
        configure("+method=none", *TINY),
        configure("+method=spec", *TINY, "train.batch_size=8"),
        configure("+method=spec", *TINY, "train.engine=autograd", "seed=8"),
        configure("+method=spec", *TINY, "train.engine=autograd", "seed=9"),
    ]
    jobs = [identify(cfg) for cfg in cfgs]
    assert compatible_groups(jobs) == [jobs[:3], *([job] for job in jobs[3:])]
    assert compatible_groups(jobs[:3], largest=2) == [jobs[:2], jobs[2:3]]


@pytest.mark.parametrize(
    "change",
    [
        *("select=paper", "data.holdout=20", "data.subset=50", "data.mean=pixel", "data.std=none"),
        *("data.augment=affine", "model=convnet_mnist", "model.pool=ceil", "model.init=torch"),
        *("train.epochs=3", "train.batch_size=8", "train.precision=bf16-mixed", "dataset.path=x.npz"),
    ],
)
def test_what_a_group_has_in_common(configure, change):
    pair = [Job(configure("+method=none", *TINY, *words), None, {}) for words in ((), (change,))]
    assert compatible_groups(pair) == [[job] for job in pair]


@pytest.mark.parametrize(
    "change", ["seed=3", "train.lr=1", "train.momentum=0", "train.schedule=cosine", "checkpoint=best"]
)
def test_what_a_group_need_not_have_in_common(configure, change):
    pair = [Job(configure("+method=none", *TINY, *words), None, {}) for words in ((), (change,))]
    assert compatible_groups(pair) == [pair]


def test_a_run_that_is_over_or_held_or_failed(configure, tmp_path):
    cfgs = grid(configure, "none")
    run(cfgs[0])
    before = (tmp_path / "runs.csv").read_text()
    failed = identify(cfgs[2]).directory
    failed.path.mkdir()
    write_json(failed / "result.json", result(failed.id, "failed"))
    with identify(cfgs[1]).directory.locked():
        train_together(cfgs)
    assert (tmp_path / "runs.csv").read_text().startswith(before)
    assert [identify(cfg).directory.over() is not None for cfg in cfgs] == [True, False, True]

"""What a sweep says and writes, from its command line to its last line."""

import re
import time
from datetime import datetime

import pytest
from omegaconf import OmegaConf

from jacexp.errors import JacexpError, StoreError
from jacexp.sweep import launch
from jacexp.sweep.entry import Entry


def sweep(folder, *entries):
    config = OmegaConf.create({"paths": {"results": str(folder.parent)}, "progress": "off"})
    return launch._Sweep(folder, list(entries), config)


def test_a_reason_that_cannot_be_written_down_is_said_and_ends_nothing(tmp_path, capsys):
    (tmp_path / "sweep").write_text("a file where the sweep's folder was")
    entry = Entry("seed=1", epochs=1, error=JacexpError("too large"))
    begun = sweep(tmp_path / "sweep", entry)
    begun.ended(entry, None)
    assert capsys.readouterr().err == "error: too large (seed=1)\n"
    with pytest.raises(StoreError, match=r"sweep cannot be written .*paths\.results=DIR"):
        begun.write()


def test_the_same_reason_is_printed_once_and_ends_the_program_if_it_is_all_there_is(tmp_path, capsys):
    missing = [Entry(f"seed={s}", error=JacexpError("images are missing")) for s in range(21)]
    with pytest.raises(SystemExit):
        sweep(tmp_path / "sweep", *missing).refuse()
    assert capsys.readouterr().err == "error: images are missing (seed=0 and 20 more)\n"
    assert not list(tmp_path.iterdir())
    sweep(tmp_path / "sweep", *missing, Entry("seed=21")).refuse()
    assert capsys.readouterr().err == "error: images are missing (seed=0 and 20 more)\n"


def test_a_long_check_says_what_it_does(monkeypatch, capsys):
    monkeypatch.setattr(launch, "SLOW_S", 0.05)
    for is_quiet in (False, True):
        with launch._reported_if_slow("checking 680 jobs", is_quiet):
            time.sleep(0.2)
    monkeypatch.setattr(launch, "SLOW_S", 60)
    with launch._reported_if_slow("checking 2 jobs", False):
        pass
    assert capsys.readouterr().out == "checking 680 jobs ...\n"


def test_two_sweeps_that_start_in_the_same_second_have_a_folder_each(configure):
    started = [datetime(2026, 1, 1, 12, 0, 0, micro) for micro in (1, 2)]
    pattern = OmegaConf.to_container(configure(hydra=True), resolve=False)["hydra"]["sweep"]["dir"]
    time_of_start = re.search(r"now:(.*)}", pattern)[1]
    assert len({moment.strftime(time_of_start) for moment in started}) == 2

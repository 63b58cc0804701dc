"""Reading the run directories of a very large sweep."""

import json
import os
import shutil
import time

import pytest

from jacexp.store.runs import finished_runs
from tests.results import result

N_RUNS = 100_000
RESULT = result("", data="d" * 400, versions="v" * 150)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder of results with as many runs that are over, and one that is not for every hundred."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "runs").mkdir()
    for number in range(N_RUNS):
        run = f"{folder}/runs/{number:012x}"
        os.mkdir(run)  # noqa: PTH102  # a Path for each would take longer than the files
        with open(f"{run}/result.json", "w") as file:  # noqa: PTH123
            row = {**RESULT["row"], "run": f"{number:012x}", "seed": number}
            json.dump({**RESULT, "row": row}, file)
        if number % 100 == 0:
            os.mkdir(f"{run}-unfinished")  # noqa: PTH102
    yield folder
    shutil.rmtree(folder)  # pytest keeps what the last three sessions made


def bare(folder):
    """Do no more than has to be done: list the names, open and parse each file."""
    n = 0
    with os.scandir(folder / "runs") as entries:
        paths = sorted(entry.path for entry in entries)
    for path in paths:
        try:
            with open(f"{path}/result.json", "rb") as file:  # noqa: PTH123
                n += json.loads(file.read())["status"] == "done"
        except FileNotFoundError:
            continue
    return n


def seconds(read, folder):
    """The shorter of two readings, so that the files are in the system's cache and other work disturbs less."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        assert read(folder) == N_RUNS
        times.append(time.perf_counter() - start)
    return min(times)


@pytest.mark.slow
def test_a_hundred_thousand_runs_are_read_in_three_times_the_bare_time_at_most(results):
    ours = seconds(lambda folder: sum(1 for _ in finished_runs(folder)), results)
    least = seconds(bare, results)
    print(f"{N_RUNS:,} runs: {ours:.1f} s, bare {least:.1f} s")
    assert ours < 3 * least


@pytest.mark.slow
def test_they_come_in_the_order_of_their_names(results):
    seeds = [result["row"]["seed"] for _, result in finished_runs(results)]
    assert seeds == list(range(N_RUNS))

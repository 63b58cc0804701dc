"""A result is read if it is this run's and this version's, and refused in one line otherwise."""

import json

import pytest

from jacexp.errors import StoreError
from jacexp.store.runs import RunDirectory, run_id, write_json
from tests.results import result

RUN = "0123456789ab"


def without(column):
    made = result(RUN)
    del made["row"][column]
    return made


FOREIGN = {
    "cut short": ('{"status": "done"', "is damaged"),
    "no text": (b"\xff\xfe\x00", "is damaged"),
    "a list": ("[]", "is no result"),
    "nothing of ours": ("{}", "is no result"),
    "no row": (json.dumps({**result(RUN), "row": None}), "is no result"),
    "no data set": (json.dumps({**result(RUN), "dataset": {}}), "is no result"),
    "another status": (json.dumps(result(RUN, "paused")), "is no result"),
    "two statuses": (json.dumps({**result(RUN), "status": "failed"}), "is no result"),
    "another run's": (json.dumps(result("another")), "is of run another"),
    "a foreign column": (json.dumps(result(RUN, accuracy=0.5)), "another version .* column accuracy"),
    "a missing column": (json.dumps(without("momentum")), "another version .* column momentum"),
    "a missing count": (json.dumps(without("n_val")), "another version .* column n_val"),
    "a text as a count": (json.dumps(result(RUN, n_val="many")), "damaged, for n_val is 'many'"),
    "a fraction as a count": (json.dumps(result(RUN, n_val=1.5)), "damaged, for n_val is 1.5"),
    "an empty count": (json.dumps(result(RUN, n_val_correct=None)), "damaged, for n_val_correct is None"),
    "no images": (json.dumps(result(RUN, n_val=0)), "damaged, for n_val is 0"),
}


def test_a_run_is_named_by_its_configuration_in_whatever_order():
    """SHA-256 of {"a":1,"b":[2.5,null]}, 12 digits; another name would lose every stored run."""
    assert run_id({"b": [2.5, None], "a": 1}) == run_id({"a": 1, "b": [2.5, None]}) == "fbb68c4db7e0"
    assert run_id({"a": 1, "b": [2.5, 0]}) != run_id({"a": 1, "b": [2.5, None]})


@pytest.mark.parametrize(("status", "is_over"), [("done", True), ("diverged", True), ("failed", False)])
def test_a_run_that_failed_is_tried_again_and_one_that_diverged_is_not(tmp_path, status, is_over):
    directory = RunDirectory(tmp_path / RUN)
    directory.path.mkdir()
    write_json(directory / "result.json", result(RUN, status))
    assert directory.result() == result(RUN, status)
    assert directory.over() == (result(RUN, status) if is_over else None)


@pytest.mark.parametrize(("content", "says"), FOREIGN.values(), ids=FOREIGN)
def test_a_result_that_is_damaged_or_foreign_is_named(tmp_path, content, says):
    directory = RunDirectory(tmp_path / RUN)
    directory.path.mkdir()
    path = directory / "result.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(StoreError, match=f"{says}.*; delete it to run {RUN} again") as error:
        directory.result()
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
    path.unlink()
    assert directory.result() is None


@pytest.mark.parametrize("status", ["done", "diverged", "failed"])
def test_a_result_is_read_as_it_was_written(tmp_path, status):
    directory = RunDirectory(tmp_path / RUN)
    directory.path.mkdir()
    written = result(RUN, status, lam=None, error="why")
    write_json(directory / "result.json", written)
    assert directory.result() == written

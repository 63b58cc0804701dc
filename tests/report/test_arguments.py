from pathlib import Path

import pytest

from jacexp.report.arguments import Arguments, parse, run
from jacexp.report.write import Written
from jacexp.store.folders import REFERENCE
from jacexp.store.runs import write_json
from tests.results import result


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ([], Arguments(Path("my_results"), "holdout", REFERENCE)),
        (["reference=false"], Arguments(Path("my_results"))),
        (["paths.results=x", "reference=true"], Arguments(Path("x"), "holdout", REFERENCE)),
        ([f"paths.results={REFERENCE}", "reference=true"], Arguments(REFERENCE)),
        (["paths.results=a b"], Arguments(Path("a b"))),
        (["--results", "x=y"], Arguments(Path("x=y"))),
        (["--results=x"], Arguments(Path("x"))),
        (["select=paper", "paths.results=x"], Arguments(Path("x"), "paper")),
    ],
)
def test_arguments(words, arguments):
    assert parse(words) == arguments


def test_a_job_is_told_what_to_do_and_its_result_printed(capsys):
    def job(results, how, reference):
        return Written([results / f"{how}.md"], [("a cell", "a command")], "all is well")

    assert run(job, ["select=paper", "paths.results=here"]) == 0
    assert capsys.readouterr().out == (
        "wrote here/paper.md\n\nmissing, and the command that makes it:\n  a cell\n    a command\n\nall is well\n"
    )


def test_help_does_nothing(capsys):
    assert run(lambda *_: pytest.fail("not asked for"), ["--help"]) == 0
    assert "paths.results=DIR" in capsys.readouterr().out


def test_the_rows_that_runs_left_out_are_there_before_the_job(tmp_path, capsys):
    for run_id in ("0123456789ab", "ba9876543210"):
        (tmp_path / "runs" / run_id).mkdir(parents=True)
        write_json(tmp_path / "runs" / run_id / "result.json", result("0123456789ab"))

    def job(results, how, reference):
        return Written([], [(row, "") for row in (results / "runs.csv").read_text().splitlines()[1:]])

    assert run(job, [f"paths.results={tmp_path}"]) == 0
    said = capsys.readouterr()
    assert said.out.count("0123456789ab") == 1
    assert "ba9876543210/result.json is of run 0123456789ab" in said.err

from pathlib import Path

import pytest

from jacexp.report.arguments import Arguments, parse, run
from jacexp.report.write import Written


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ([], Arguments(Path("results"), "holdout")),
        (["paths.results=a b"], Arguments(Path("a b"))),
        (["--results", "x=y"], Arguments(Path("x=y"))),
        (["--results=x"], Arguments(Path("x"))),
        (["select=paper", "paths.results=x"], Arguments(Path("x"), "paper")),
    ],
)
def test_arguments(words, arguments):
    assert parse(words) == arguments


def test_a_job_is_told_what_to_do_and_its_result_printed(capsys):
    def job(results, how):
        return Written([results / f"{how}.md"], [("a cell", "a command")], "all is well")

    assert run(job, ["select=paper", "paths.results=here"]) == 0
    assert capsys.readouterr().out == (
        "wrote here/paper.md\n\nmissing, and the command that makes it:\n  a cell\n    a command\n\nall is well\n"
    )


def test_help_does_nothing(capsys):
    assert run(lambda results, how: pytest.fail("not asked for"), ["--help"]) == 0
    assert "paths.results=DIR" in capsys.readouterr().out

from pathlib import Path

import pytest

from jacexp.errors import ConfigError, StoreError
from jacexp.report.arguments import Arguments, parse, run


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ([], Arguments(Path("results"), "holdout")),
        (["paths.results=a b"], Arguments(Path("a b"))),
        (["--results", "x=y"], Arguments(Path("x=y"))),
        (["--results=x"], Arguments(Path("x"))),
        (["select=paper", "paths.results=x"], Arguments(Path("x"), "paper")),
        (["paths.results=x", "paths.results=y"], Arguments(Path("y"))),
    ],
)
def test_arguments(words, arguments):
    assert parse(words) == arguments


@pytest.mark.parametrize(
    "word", ["results=x", "select=test", "select", "--results", "paths.results=", "-m", "x"]
)
def test_anything_else_is_refused_with_what_is_known(word):
    with pytest.raises(ConfigError, match=r"paths\.results=DIR.*select=holdout\|paper"):
        parse([word])


def test_a_job_is_told_what_to_do_and_its_result_printed(capsys):
    def job(results, how):
        return [results / f"{how}.md"], [("a cell", "a command")]

    assert run(job, ["select=paper", "paths.results=here"]) == 0
    assert capsys.readouterr().out == (
        "wrote here/paper.md\n\nmissing, and the command that makes it:\n  a cell\n    a command\n"
    )


def test_errors_are_one_line_without_a_traceback(capsys):
    def job(results, how):
        raise StoreError("no such folder")

    assert run(job, []) == 1
    assert run(job, ["nonsense"]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert errors[0] == "error: no such folder"
    assert errors[1].startswith("error: cannot read the argument 'nonsense'")


def test_help_does_nothing(capsys):
    assert run(lambda results, how: pytest.fail("not asked for"), ["--help"]) == 0
    assert "paths.results=DIR" in capsys.readouterr().out

"""Words of command lines, and how scripts end."""

import pytest

from jacexp.arguments import Parser, pairs, run_script
from jacexp.errors import ConfigError, StoreError, did_you_mean


def test_words_are_read_in_their_order():
    assert pairs(["seed=0", "paths.results=a=b", "lam=1"], "") == {
        "seed": "0",
        "paths.results": "a=b",
        "lam": "1",
    }


@pytest.mark.parametrize("word", ["seed", "seed=", "=0", "", "seed= "])
def test_a_word_without_key_or_value_is_refused_with_the_usage(word):
    with pytest.raises(ConfigError, match=r"cannot read the argument .*; write seed=N"):
        pairs([word], "write seed=N")


def test_a_key_comes_once():
    with pytest.raises(ConfigError, match="seed is given twice, as 0 and as 1; give it once"):
        pairs(["seed=0", "lam=1", "seed=1"], "")


def test_the_nearest_word_is_offered_if_one_is_near():
    assert did_you_mean("methd", ["dataset", "method"]) == " (did you mean method?)"
    assert did_you_mean("zzz", ["dataset", "method"]) == ""


def raises(error):
    def main(words):
        raise error

    return main


@pytest.mark.parametrize(
    ("main", "status", "said"),
    [
        (lambda words: 3, 3, ""),
        (raises(StoreError("no such folder")), 1, "error: no such folder\n"),
        (raises(KeyboardInterrupt), 130, "stopped; start again\n"),
        (
            lambda words: Parser(prog="x").parse_args(["--foo"]),
            1,
            "error: unrecognized arguments: --foo; see x --help\n",
        ),
    ],
)
def test_a_script_ends_with_its_status_and_one_line(main, status, said, capsys):
    with pytest.raises(SystemExit) as ended:
        run_script(main, stopped="stopped; start again")
    assert (ended.value.code, capsys.readouterr().err) == (status, said)


def test_other_errors_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        run_script(raises(ZeroDivisionError()))

import re
import tomllib
from pathlib import Path

import pytest

import jacexp

ROOT = Path(__file__).parents[1]


def test_the_core_is_importable_from_the_top():
    assert [name for name in jacexp.__all__ if not hasattr(jacexp, name)] == []
    assert set(jacexp.__all__) <= set(dir(jacexp))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'spectralnorm'"):
        jacexp.spectralnorm  # noqa: B018


def test_every_dependency_has_its_reason_and_its_pin():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    pins = re.findall(
        r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    pinned = {name.lower().replace("_", "-") for name in pins}
    for requirement in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        assert re.search(rf'"{re.escape(requirement)}".*#\s+\w', text), (
            f"{requirement} has no reason beside it"
        )
        assert re.match(r"[\w-]+", requirement)[0].lower() in pinned, (
            f"{requirement} has no pin in constraints.txt"
        )


def test_the_version_is_the_changelogs_and_the_citations():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", changelog, flags=re.MULTILINE)[1] == jacexp.__version__
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (\S+)", citation, flags=re.MULTILINE)[1] == jacexp.__version__

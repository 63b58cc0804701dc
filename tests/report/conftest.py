from pathlib import Path

import pytest

from jacexp.report.schema import Store, read_store
from tests.report.ideal import Ideal
from tests.report.synthetic import Tables


@pytest.fixture(scope="session")
def ideal_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results in which every claim holds; tests read it and copy it, and write nothing into it."""
    return Ideal().build().write(tmp_path_factory.mktemp("ideal"))


@pytest.fixture(scope="session")
def ideal(ideal_folder: Path) -> Store:
    return read_store(ideal_folder)


@pytest.fixture
def tables() -> Tables:
    return Tables()

import pytest

from jacexp.report.schema import Store, read_store
from jacexp.report.select import Selection
from tests.report.ideal import Ideal
from tests.report.synthetic import Tables


@pytest.fixture(scope="session")
def ideal(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store in which every claim holds."""
    return read_store(Ideal().build().write(tmp_path_factory.mktemp("ideal")))


@pytest.fixture
def tables() -> Tables:
    return Tables()


@pytest.fixture
def read(tables, tmp_path):
    """Write the tables, read them again, and select."""
    return lambda how="holdout": Selection(read_store(tables.write(tmp_path), may_be_empty=True), how)

import pytest

from jacexp.report.schema import Store, read_store
from tests.report.ideal import Ideal
from tests.report.synthetic import Tables


@pytest.fixture(scope="session")
def ideal(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store in which every claim holds."""
    return read_store(Ideal().build().write(tmp_path_factory.mktemp("ideal")))


@pytest.fixture
def tables() -> Tables:
    return Tables()

"""Hydra's own tests of a launcher: what is no run of jacexp's is run as Hydra runs it."""

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)
from hydra.version import _UNSPECIFIED_, VersionBase

# Hydra's own test programs do not say which Hydra's rules they follow
pytestmark = pytest.mark.filterwarnings("ignore:Future Hydra versions:UserWarning")


@pytest.fixture(autouse=True)
def no_version_base(monkeypatch):
    """Forget whose rules an earlier test in this process asked Hydra to follow."""
    monkeypatch.setattr(VersionBase.instance(), "version_base", _UNSPECIFIED_)


def test_hydra_discovers_the_launcher():
    assert "JacexpLauncher" in [found.__name__ for found in Plugins.instance().discover(Launcher)]


@pytest.mark.parametrize(
    "launcher_name", ["jacexp_fused", pytest.param("jacexp_sequential", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("overrides", [[]])
class TestSuite(LauncherTestSuite):
    pass


@pytest.mark.parametrize("launcher_name", ["jacexp_sequential"])
@pytest.mark.parametrize("overrides", [["hydra/sweeper=basic", "hydra.sweeper.max_batch_size=2"]])
class TestBatches(BatchedSweeperTestSuite):
    pass


@pytest.mark.slow  # each test starts programs
@pytest.mark.parametrize("task_launcher_cfg", [{}])
@pytest.mark.parametrize("extra_flags", [["-m", "hydra/launcher=jacexp_sequential"]])
class TestIntegration(IntegrationTestSuite):
    pass

import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from jacexp.train.config import register

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture
def configure(tmp_path, monkeypatch):
    """Compose what train.py would run, with results below tmp_path and nothing printed."""
    monkeypatch.setattr(sys, "argv", ["train.py"])
    register()

    def make(*overrides, results=tmp_path, hydra=False):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            words = ["train.device=cpu", *overrides, f"paths.results={results}", "progress=off"]
            return compose("config", words, return_hydra_config=hydra)

    return make

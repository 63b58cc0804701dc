import sys
from pathlib import Path

import pytest
import torch

# Small networks lose more to the threads' hand-over than they gain, most of all where tests run side by side.
torch.set_num_threads(1)

CONF = Path(__file__).parents[1] / "conf"


@pytest.fixture
def configure(tmp_path, monkeypatch):
    """Compose what train.py would run, with results below tmp_path and nothing printed."""
    from hydra import compose, initialize_config_dir

    from jacexp.train.config import register

    monkeypatch.setattr(sys, "argv", ["train.py"])
    register()

    def make(*overrides, results=tmp_path, hydra=False):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            words = ["train.device=cpu", *overrides, f"paths.results={results}", "progress=off"]
            return compose("config", words, return_hydra_config=hydra)

    return make

"""Small stores of untrained networks on the embedded digits."""

import json
from pathlib import Path

import torch

from jacexp.data import load
from jacexp.models import build
from jacexp.store.checkpoint import save_network
from jacexp.store.runs import RunDirectory, write_json
from jacexp.store.tables import RUNS


def add_run(
    results: Path, method: str = "none", seed: int = 0, status: str = "done", **others
) -> RunDirectory:
    """Add a run to a folder of results, as training leaves one that is over."""
    directory = RunDirectory(results / "runs" / f"{method}-{seed}")
    directory.path.mkdir(parents=True)
    ones = torch.ones(1, 1, 1)
    net = build("lenet", in_shape=(1, 28, 28), n_classes=10, mean=0 * ones, std=ones, seed=seed)
    save_network(directory / "last.ckpt", net)
    row = {
        **dict.fromkeys(RUNS),
        **{"run": directory.id, "dataset": "digits", "model": "lenet", "method": method, "seed": seed},
        **{"status": status, "checkpoint": "last", "data": json.dumps(load("digits").source), **others},
    }
    dataset = {"name": "digits", "path": None}
    write_json(directory / "result.json", {"status": status, "row": row, "dataset": dataset})
    return directory

"""Small stores of untrained networks on the embedded digits."""

import json
from pathlib import Path

import torch

from jacexp.data import load
from jacexp.models import build
from jacexp.store.checkpoint import save_network
from jacexp.store.runs import RunDirectory, write_json
from jacexp.store.tables import STRENGTHS
from tests.results import result


def add_run(
    results: Path, method: str = "none", seed: int = 0, status: str = "done", **others
) -> RunDirectory:
    """Add a run to a folder of results, as training leaves one that is over."""
    directory = RunDirectory(results / "runs" / f"{method}-{seed}")
    directory.path.mkdir(parents=True)
    ones = torch.ones(1, 1, 1)
    net = build("lenet", in_shape=(1, 28, 28), n_classes=10, mean=0 * ones, std=ones, seed=seed)
    save_network(directory, "last", net)
    row = {
        "dataset": "digits",
        "method": method,
        "seed": seed,
        "checkpoint": "last",
        **dict.fromkeys(STRENGTHS),
    }
    row |= {"data": json.dumps(load("digits").source), **others}
    write_json(directory / "result.json", result(directory.id, status, **row))
    return directory

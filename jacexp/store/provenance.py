"""What made a result: the command, the code, the device and the versions of what it is built on."""

import json
import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch


def provenance(device: torch.device | str) -> dict[str, str]:
    """Describe what made a result: command, git revision, device, versions and when."""
    return {
        "command": command(),
        "git": git_revision(),
        "device": device_name(torch.device(device)),
        "versions": json.dumps(versions(), sort_keys=True),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def command() -> str:
    """Return the command line that started this process, as one would type it again."""
    program, *words = sys.argv
    if Path(program).name not in ("jacexp", "__main__.py"):
        return shlex.join(["python", program, *words])
    # Hydra's arguments, which are overrides and flags, come without the command's name.
    name = [] if words[:1] and words[0].isidentifier() else ["train"]
    return shlex.join(["jacexp", *name, *words])


def device_name(device: torch.device) -> str:
    """Name a device as its maker does, for example ``NVIDIA H100 80GB HBM3`` or ``cpu (x86_64, 2 threads)``."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"


def versions() -> dict[str, str]:
    """Return the versions that a number may depend on."""
    found = {"python": platform.python_version()}
    for package in ("torch", "torchvision", "pytorch-lightning", "torchattacks", "jacexp"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


@cache
def git_revision() -> str:
    """Return the commit of the checkout that is running.

    Returns:
        Its name, with ``+`` where files differ; empty outside a checkout. Files in ``results`` do not count: there
        every run adds its row, and none reads another's.
    """
    root = Path(__file__).parents[2]
    # Not a repository that holds the environment.
    here = {**os.environ, "GIT_CEILING_DIRECTORIES": str(root.parent)}
    changed = ["git", "status", "--porcelain", "--untracked-files=no", "--", ".", ":!results"]
    commands = (["git", "rev-parse", "HEAD"], changed)
    try:
        done = [
            subprocess.run(c, cwd=root, env=here, capture_output=True, text=True, check=True).stdout
            for c in commands
        ]
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done[0].strip() + ("+" if done[1].strip() else "")

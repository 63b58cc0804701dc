"""The folders that jacexp knows: its configuration, the reference results, which no run touches, and a user's own."""

from pathlib import Path

from jacexp.errors import ConfigError

CONF = Path(__file__).parents[1] / "conf"
"""Hydra's files, which the wheel holds and a checkout links to."""

OWN = Path("my_results")
"""Where runs, and what is made of them, go unless ``paths.results`` says otherwise: below the folder one works in."""

REFERENCE = Path(__file__).parents[2] / "results"
"""The committed results of this checkout; not there where the package was installed without one."""


def is_reference(folder: Path) -> bool:
    """Return whether a folder is the reference itself, by whatever path."""
    return folder.resolve() == REFERENCE.resolve()


def results_folder(word: str | Path) -> Path:
    """Read the place of a folder of results, which need not exist yet.

    Returns:
        Its path.

    Raises:
        ConfigError: if a file is there or on the way to it.
    """
    path = Path(word)
    for place in (path, *path.parents):
        if place.exists() and not place.is_dir():
            why = f", for {place} is a file" if place != path else ""
            raise ConfigError(f"paths.results={word} is no folder{why}; name another, or a new one")
    return path

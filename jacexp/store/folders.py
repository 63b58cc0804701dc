"""The two folders of results: the reference, which the project ships and nobody's runs touch, and a user's own."""

from pathlib import Path

OWN = Path("my_results")
"""Where runs, and what is made of them, go unless ``paths.results`` says otherwise: below the folder one works in."""

REFERENCE = Path(__file__).parents[2] / "results"
"""The committed results of this checkout; not there where the package was installed without one."""


def is_reference(folder: Path) -> bool:
    """Return whether a folder is the reference itself, by whatever path."""
    return folder.resolve() == REFERENCE.resolve()

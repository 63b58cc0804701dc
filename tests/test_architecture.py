"""The picture of the house is today's."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
DRAW = ROOT / "docs" / "figures" / "architecture.py"


def test_the_picture_is_that_of_the_imports():
    drawn = subprocess.run([sys.executable, DRAW, "--check"], capture_output=True, text=True, check=False)
    assert drawn.returncode == 0, drawn.stderr


def test_a_picture_of_another_house_is_noticed(tmp_path):
    for folder in ("jacexp", "hydra_plugins", "scripts"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    (tmp_path / "train.py").symlink_to(ROOT / "train.py")
    figures = tmp_path / "docs" / "figures"
    figures.mkdir(parents=True)
    (figures / DRAW.name).write_bytes(DRAW.read_bytes())
    (figures / "architecture.svg").write_text("another house")
    drawn = subprocess.run(
        [sys.executable, figures / DRAW.name, "--check"], capture_output=True, text=True, check=False
    )
    assert drawn.returncode == 1
    assert "run python docs/figures/architecture.py" in drawn.stderr


def test_every_page_and_file_that_the_documentation_names_is_there():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        for link in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            assert link.startswith("http") or (page.parent / link).exists(), f"{page.name}: {link}"

"""The layers of the design: an import may only point down."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LAYERS = [  # from the bottom to the top; within a layer nobody imports a neighbour
    {"jacexp.errors"},
    {"jacexp.random", "jacexp.arguments", "jacexp.ranges"},
    {"jacexp.targets"},
    {"jacexp.jacobian", "jacexp.models", "jacexp.data"},
    {"jacexp.store"},
    {"jacexp.methods", "jacexp.evaluate"},
    {"jacexp.train", "jacexp.report", "jacexp.losses"},
    {"jacexp.sweep", "jacexp.results"},
    {"jacexp.benchmark"},
    {"jacexp.commands"},
    {"jacexp.__main__"},
]
RANK = {module: rank for rank, layer in enumerate(LAYERS) for module in layer}

FORBIDDEN = {  # what a module must not import, besides what lies above it
    "jacexp.jacobian": {"hydra", "omegaconf", "pytorch_lightning", "pandas", "matplotlib"},
    "jacexp.models": {"hydra", "omegaconf", "pytorch_lightning", "pandas", "matplotlib"},
    "jacexp.data": {"hydra", "omegaconf", "pytorch_lightning", "pandas", "matplotlib"},
    "jacexp.evaluate": {"hydra", "omegaconf", "pytorch_lightning", "matplotlib"},
    "jacexp.store": {"hydra", "pytorch_lightning", "matplotlib"},
    "jacexp.methods": {"hydra", "omegaconf", "pytorch_lightning", "pandas", "matplotlib"},
    "jacexp.losses": {"hydra", "omegaconf", "pytorch_lightning", "pandas", "matplotlib"},
    "jacexp.report": {"torch", "hydra", "pytorch_lightning"},
    "jacexp.results": {"torch", "hydra", "pytorch_lightning", "matplotlib"},
}
TOPMOST = {"train", "scripts", "hydra_plugins", "tests"}  # nothing in the package imports these

FILES = [path for path in sorted((ROOT / "jacexp").rglob("*.py")) if path != ROOT / "jacexp/__init__.py"]


def layer_of(module: str) -> str:
    """jacexp.data.load -> jacexp.data; other packages -> their first name."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "jacexp" else parts[0]


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, anywhere in it; a relative import counts as its own layer."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            # `from jacexp import data` imports jacexp.data
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_point_down(path):
    own = layer_of(module_name(path))
    assert own in RANK, f"{own} has no layer: give it one in LAYERS"
    for target in map(layer_of, imports(path)):
        assert target not in TOPMOST, f"{path} imports {target}"
        assert target not in FORBIDDEN.get(own, ()), f"{path} imports {target}"
        if target.startswith("jacexp.") and target != own:
            assert RANK[target] < RANK[own], f"{path} imports {target}, which is not below {own}"


MODULES = {module_name(path): path for path in FILES if path.name != "__init__.py"}
LIBRARY = [name for name in MODULES if layer_of(name) != "jacexp.commands"]  # programs stand on top of it


@cache
def chain(module: str) -> tuple[str, ...]:
    """The longest chain of imports that begins with a module."""
    names = {name if name in MODULES else name.rpartition(".")[0] for name in imports(MODULES[module])}
    return (module, *max((chain(name) for name in names & MODULES.keys()), key=len, default=()))


def test_no_chain_of_imports_is_longer_than_twelve():
    longest = max(map(chain, LIBRARY), key=len)
    assert len(longest) <= 12, " <- ".join(longest)


PACKAGES = {module_name(path.parent) for path in FILES if path.name == "__init__.py"}


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_a_name_is_imported_from_where_it_is_defined(path):
    for name in imports(path):
        package, _, own = name.rpartition(".")
        if package in PACKAGES and path.name != "__init__.py":
            folder = ROOT.joinpath(*package.split("."))
            defined = (folder / f"{own}.py").exists() or (folder / own).is_dir()
            assert defined or not re_exports(folder / "__init__.py", own), (
                f"{path} takes {own} from {package}"
            )


def re_exports(path: Path, name: str) -> bool:
    return any(target.rpartition(".")[2] == name for target in imports(path))


def test_the_rules_see_an_import_that_points_up(tmp_path):
    source = tmp_path / "bad.py"
    source.write_text(
        "def f():\n    from jacexp import train\n    import jacexp.report.tables as t\n    import torch\n"
    )
    assert [layer_of(name) for name in imports(source)] == ["jacexp.train", "jacexp.report", "torch"]


def test_the_package_its_reports_stored_runs_and_a_sweep_s_status_import_without_torch():
    reports = [m for m in map(module_name, FILES) if m.startswith("jacexp.report.")]
    modules = [
        "jacexp",
        "jacexp.store.runs",
        "jacexp.store.tables",
        *reports,
        "jacexp.results",
        "jacexp.sweep.ticker",
    ]
    code = f"""
import importlib, sys
for module in {modules}:
    importlib.import_module(module)
    assert "torch" not in sys.modules, module
"""
    fresh = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert fresh.returncode == 0, fresh.stderr

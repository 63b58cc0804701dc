"""How Sphinx builds the site: `make docs`. Its sources are the pages of the checkout, where they lie."""

import os
import re
import sys
from functools import partialmethod
from pathlib import Path

from nbclient import NotebookClient

import jacexp

# The notebooks' kernels call the `jacexp` command of the environment that builds them.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ["JACEXP"] = str(Path(__file__).parents[1])

project, author = "jacexp", "the jacexp developers"
version = release = jacexp.__version__
copyright = author

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "results/README.md",
    "results/steps.md",
    "results/*/README.md",
    "examples/*/README.md",
    "docs/**",
]
exclude_patterns = [".venv", "build", "my_results", "results/**/runs"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600  # seconds a cell, on a machine that has other things to do
# What a command prints arrives in pieces of 100 bytes; myst-nb's own merging would break a line after each.
NotebookClient.__init__ = partialmethod(NotebookClient.__init__, coalesce_streams=True)

default_role = "any"  # `linearize` in a docstring is a link to it, wherever it is described
nitpicky = True
nitpick_ignore_regex = [  # other libraries, whose inventories would have to be downloaded
    ("py:.*", r"(torch|nn|np|numpy|pd|pandas|pathlib|collections|typing|omegaconf|pytorch_lightning|L)\..*")
]
nitpick_ignore = [  # in signatures, and the project's own
    ("py:class", "jacexp.jacobian.rules.base.RuleType"),
    ("py:class", "jacexp.methods.optimizers.OptimizerChoice"),
    ("py:class", "jacexp.methods.optimizers.SchedulerChoice"),
    ("py:class", "jacexp.report.schema.Store"),
]
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_google_docstring, napoleon_numpy_docstring = True, False

html_theme = "furo"
html_title = f"jacexp {release}"
html_static_path = ["site"]
html_extra_path = ["site/index.html"]  # leads from the root to the start page
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False


def escape(*event):
    """Keep the stars and bars of equations, (B, *in) and |z|, from being reStructuredText's."""
    lines = event[-1]  # changed in place, as Sphinx asks
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = re.split(r"(``.+?``|`.+?`)", line)
            parts[::2] = [re.sub(r"[*|]", r"\\\g<0>", part) for part in parts[::2]]
            lines[i] = "".join(parts)


def entitle(_, page, source):
    """Give the stored times, which a benchmark writes as they are, the title that a page needs."""
    if page == "results/steps":
        source[0] = f"# Times of steps\n\n{source[0]}"


def setup(app):
    """Escape docstrings before napoleon, which is called at 500, reads them."""
    app.connect("source-read", entitle)
    app.connect("autodoc-process-docstring", escape, priority=400)

"""Draw every figure of the papers that has data, as PNG and PDF, from what is stored.

python scripts/figures.py [paths.results=DIR] [select=holdout|paper]
"""

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout, whatever else is installed

from jacexp.arguments import run_script
from jacexp.report.arguments import run
from jacexp.report.write import write_figures

if __name__ == "__main__":
    run_script(partial(run, write_figures))

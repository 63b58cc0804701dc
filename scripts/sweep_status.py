"""The command ``jacexp status``, of this checkout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # whatever else is installed

from jacexp.commands import main

if __name__ == "__main__":
    main(["status", *sys.argv[1:]])

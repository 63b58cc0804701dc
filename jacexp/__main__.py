"""``python -m jacexp`` is ``jacexp``."""

from jacexp.commands import main

if __name__ == "__main__":
    main()

"""The one line that a sweep shows while it runs."""

import shutil
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TextIO

from jacexp.sweep.status import Sweep

REFRESH_S = 3.0
"""Between two looks, in a terminal."""

LOG_S = 60.0
"""Between two lines in a log, where nothing ends; at least a tenth of it passes between any two."""


class Ticker:
    """Shows a sweep's line: refreshed in place in a terminal, now and then in a log, never where it is off."""

    def __init__(self, folder: Path, kind: str, out: TextIO | None = None) -> None:
        """Show a sweep.

        Args:
            folder: the sweep's.
            kind: ``progress=``: ``auto`` and ``bar`` refresh the line in a terminal, unless each run has a bar of
                its own; ``lines`` writes lines; ``off`` nothing.
            out: where it goes; None: the standard output.
        """
        self.out = out or sys.stdout
        self.is_off = kind == "off"
        self.is_live = kind == "auto" and self.out.isatty()
        self._sweep = Sweep(folder)
        self._end = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._tick, daemon=True)
        self._last, self._line = time.monotonic(), ""

    def __enter__(self) -> "Ticker":
        """Begin."""
        if not self.is_off:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show how far the sweep came."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()
        line = self._sweep.status(is_at_work=False).line()
        if self.is_live or line != self._line:
            self.say(line)

    def say(self, text: str) -> None:
        """Write a line of its own."""
        if self.is_off:
            return
        with self._writing:
            print(f"\r\x1b[K{text}" if self.is_live else text, file=self.out, flush=True)

    def ended(self, text: str) -> None:
        """Write that a run ended, and how far the sweep is, unless that was said just before."""
        self.say(text)
        self._line = ""  # no longer the last one
        if not (self.is_off or self.is_live) and time.monotonic() - self._last > LOG_S / 10:
            self._show()

    def _tick(self) -> None:
        while not self._end.wait(REFRESH_S if self.is_live else LOG_S / 10):
            if self.is_live or time.monotonic() - self._last > LOG_S:
                self._show()

    def _show(self) -> None:
        self._last, self._line = time.monotonic(), self._sweep.status().line()
        with self._writing:
            if self.is_live:
                width = shutil.get_terminal_size().columns - 1
                self.out.write(f"\r\x1b[K{self._line[:width]}")
                self.out.flush()
            else:
                print(self._line, file=self.out, flush=True)

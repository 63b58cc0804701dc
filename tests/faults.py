"""What goes wrong from outside, put into the middle of a piece of work."""

import errno
import io
from pathlib import Path


class Killed(BaseException):
    """The process is gone: nothing after it is done."""


class Full(io.FileIO):
    def write(self, data):
        super().write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")


def fill_disk(patch, is_hit=lambda path: True):
    """Let the disk be full in the middle of certain files that are written."""
    opened = Path.open

    def open_full(path, mode="r", *args, **settings):
        if mode in ("wb", "ab") and is_hit(path):
            return Full(path, mode)
        return opened(path, mode, *args, **settings)

    patch.setattr(Path, "open", open_full)

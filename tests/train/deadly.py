"""A method whose process is killed, as by a machine that is short of memory."""

import os
import signal
from pathlib import Path

from jacexp.methods.none import Plain


class Deadly(Plain):
    """Plain training; DEADLY=FILE:N kills the first N processes that train it with seed 1, each a letter in FILE."""

    def training_step(self, batch, batch_idx):
        path, _, deaths = os.environ["DEADLY"].rpartition(":")
        if self.seed == 1:
            with Path(path).open("a") as file:
                file.write("x")
            if Path(path).stat().st_size <= int(deaths):
                os.kill(os.getpid(), signal.SIGKILL)
        return super().training_step(batch, batch_idx)


class Doomed(Plain):
    """Plain training on several devices; in the fifth batch of the second process, DOOM says what happens to it."""

    def training_step(self, batch, batch_idx):
        if self.share.rank == 1 and batch_idx == 4:
            if os.environ["DOOM"] == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError("doomed")
        return super().training_step(batch, batch_idx)

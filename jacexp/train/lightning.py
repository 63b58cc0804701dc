"""A LightningModule with cheaper bookkeeping per step."""

from typing import Any

import pytorch_lightning as pl
from typing_extensions import override


class LeanLightningModule(pl.LightningModule):
    """A LightningModule that notes the current hook directly.

    Lightning sets that attribute forty times a step, and `nn.Module.__setattr__` checks each one for being a parameter.
    """

    @override
    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

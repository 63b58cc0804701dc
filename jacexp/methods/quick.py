"""A LightningModule whose bookkeeping does not outlast a small network's step."""

from typing import Any

import pytorch_lightning as pl


class QuickModule(pl.LightningModule):
    """Lightning notes its current hook forty times a step in an attribute, which PyTorch suspects to be a parameter."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, the name of the hook directly."""
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

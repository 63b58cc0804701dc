"""Data sets, their splits, batches, augmentation and tangent vectors."""

from jacexp.data.augment import AUGMENTS, Affine, Augment, CropFlip
from jacexp.data.load import NAMES, load
from jacexp.data.loader import Loader, StackedLoader, epoch_order
from jacexp.data.spec import Batch, ImageSet, Split
from jacexp.data.split import split, split_source
from jacexp.data.tangents import Tangents

__all__ = [
    "AUGMENTS",
    "NAMES",
    "Affine",
    "Augment",
    "Batch",
    "CropFlip",
    "ImageSet",
    "Loader",
    "Split",
    "StackedLoader",
    "Tangents",
    "epoch_order",
    "load",
    "split",
    "split_source",
]

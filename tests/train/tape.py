"""What a CUDA graph does, on any device: PyTorch's operations of a function, run again on the very same tensors."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

OF_THE_HOST = {"_local_scalar_dense", "lift_fresh", "nonzero", "masked_select", "_unique2", "bincount"}
"""What needs the host in between: a tensor's value in Python, the reverse, and sizes that values decide."""


class _Tape(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        masks = [t for t in tree_leaves(args[1:]) if isinstance(t, torch.Tensor) and t.dtype == torch.bool]
        name = operation.overloadpacket.__name__
        if name in OF_THE_HOST or (name in ("index", "index_put", "index_put_") and masks):
            raise RuntimeError(f"{name} is not permitted while a step is recorded")
        kwargs = kwargs or {}
        result = operation(*args, **kwargs)
        self.operations.append((operation, args, kwargs, result))
        return result


def tape(function):
    """Record a function, which runs once, and give what does the same again."""
    with _Tape() as recording:
        function()

    def replay():
        for operation, args, kwargs, result in recording.operations:
            again = operation(*args, **kwargs)
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)

    return replay

"""What a CUDA graph does, on any device: PyTorch's operations of a function, run again on the very same tensors."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
OF_THE_HOST = (aten._local_scalar_dense.default, aten.lift_fresh.default)
"""What needs the host in between: a tensor's value in Python, and the reverse."""


class _Tape(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if operation in OF_THE_HOST:
            raise RuntimeError(f"{operation} is not permitted while a step is recorded")
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

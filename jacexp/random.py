"""Random streams: every draw in jacexp takes a generator that is named by what it is for."""

import hashlib

import torch


def stream_seed(seed: int, *stream: str | int) -> int:
    """Compute the 63-bit seed of one named stream of a seed.

    Two streams of one seed are independent, so drawing more from one (more noise, another augmentation) never
    changes another (the order of the data, the initial weights).

    Args:
        seed: the seed of the run or evaluation; 0 is a seed like any other.
        stream: names that tell the streams of one seed apart, for example ``"order", epoch``.

    Returns:
        The first 63 bits of SHA-256 over the seed and the names.
    """
    key = repr((int(seed), *stream)).encode()
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "big") >> 1


def make_generator(seed: int, *stream: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """Make the generator of one named stream of a seed.

    Args:
        seed: the seed of the run or evaluation; 0 is a seed like any other.
        stream: names that tell the streams of one seed apart, for example ``"order", epoch``.
        device: where the draws are made. CPU and GPU draw different numbers from the same stream.

    Returns:
        A new generator, seeded by `stream_seed`.
    """
    return torch.Generator(device).manual_seed(stream_seed(seed, *stream))

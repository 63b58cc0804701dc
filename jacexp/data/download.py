"""Fetching a published file: whole and verified, or not at all."""

import hashlib
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

from jacexp.errors import DataError

TIMEOUT = 20.0  # seconds without an answer after which a server counts as out of reach


def fetch(urls: Sequence[str], target: Path, md5: str) -> None:
    """Download a file from the first of its mirrors that delivers it.

    It is written to a folder of its own, checked, and only then moved into place, so that no other process,
    and no later run after an interruption, ever sees half a file. Progress goes to stderr.

    Args:
        urls: mirrors, tried in this order.
        target: where the file belongs; folders are made as needed.
        md5: its MD5, in hexadecimal.

    Raises:
        DataError: if no mirror delivers the file with this MD5.
    """
    from torchvision.datasets.utils import download_url

    reasons = []
    try:
        nearest = next(folder for folder in target.absolute().parents if folder.is_dir())
        with TemporaryDirectory(prefix=".download-", dir=nearest) as folder:
            for url in urls:
                try:
                    with redirect_stdout(sys.stderr), _socket_timeout(TIMEOUT):
                        download_url(url, folder, target.name, md5)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    Path(folder, target.name).replace(target)
                    return
                except (OSError, RuntimeError, HTTPException) as error:
                    reasons.append(f"{url}: {error}")
    except OSError as error:
        reasons.append(str(error))
    raise DataError("; ".join(reasons))


def verified(data: bytes, md5: str, path: Path) -> bytes:
    """Return the bytes of a file if they have the published MD5.

    Raises:
        DataError: if they have not.
    """
    found = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if found != md5:
        raise DataError(
            f"{path} has MD5 {found} where {md5} is published: it is truncated or altered. "
            "Delete it and run again with a network, or put the published file in its place"
        )
    return data


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Time out on a silent server, for which urllib, as torchvision calls it, would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)

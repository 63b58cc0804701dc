"""A data set of a user's own: what a Python function returns, named by its content."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jacexp.data.checks import KEYS, image_set
from jacexp.data.spec import ImageSet
from jacexp.errors import DataError, JacexpError
from jacexp.targets import imported


def load_function(name: str, target: str, arguments: Mapping[str, Any]) -> ImageSet:
    """Call a function that returns x_train, y_train, x_test, y_test, as `jacexp.data.checks.image_set` takes them.

    Args:
        name: the name under which results are reported.
        target: the import path of the function.
        arguments: its keyword arguments, ready for JSON.

    Returns:
        The set; its source is the function, its arguments, and size and SHA-256 of what it returned.

    Raises:
        ConfigError: if the function cannot be imported.
        DataError: if it fails, or returns anything else.
        JacexpError: if it says itself what is wrong.
    """
    function, where = imported(target, "dataset._target_"), f"dataset._target_={target}"
    try:
        returned = function(**arguments)
    except JacexpError:
        raise
    except (Exception, SystemExit) as error:  # a script that was made a function may end the program
        reason = str(error).strip().splitlines()
        raise DataError(
            f"{where} fails ({type(error).__name__}{': ' + reason[0] if reason else ''})"
        ) from error
    if not isinstance(returned, tuple | list) or len(returned) != len(KEYS):
        kind = type(returned).__name__
        found = f"a {kind} of {len(returned)}" if isinstance(returned, tuple | list | dict) else f"a {kind}"
        raise DataError(f"{where} returns {found}; return the tuple {', '.join(KEYS)}")
    images = image_set(name, dict(zip(KEYS, returned, strict=True)), {}, where)
    record = {"file": target, **({"arguments": dict(arguments)} if arguments else {}), **_digest(images)}
    return replace(images, source={"files": [record], **images.source})


def _digest(images: ImageSet) -> dict[str, Any]:
    digest, n_bytes = hashlib.sha256(), 0
    for values in (images.x_train, images.y_train, images.x_test, images.y_test):
        array = values.numpy()
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
        n_bytes += array.nbytes
    return {"bytes": n_bytes, "sha256": digest.hexdigest()}

"""Small JSON files with a checksum, which shows whether a byte has changed."""

import hashlib
import json
from typing import Any


def dumps(content: dict[str, Any]) -> str:
    """A dictionary as readable JSON, with the SHA-256 of its content as the last entry.

    Args:
        content: values that JSON can hold, without NaN and infinity.

    Returns:
        Text for `loads`.
    """
    digest = hashlib.sha256(_as_json(content).encode()).hexdigest()
    return _as_json({**content, "sha256_of_the_above": digest})


def loads(data: bytes) -> dict[str, Any]:
    """Reads a dictionary that `dumps` has written.

    Args:
        data: bytes of the file.

    Raises:
        ValueError: if they differ in a single byte.
    """
    try:
        content = json.loads(data.decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")
    content.pop("sha256_of_the_above", None)
    if dumps(content).encode("utf-8") != data:
        raise ValueError("its content does not match its SHA-256")
    return content


def _as_json(content):
    return json.dumps(content, indent=2, allow_nan=False) + "\n"

"""Checks names of entries, `<method>_<encoder>_<data>[_<tag>]`, and paths of their files."""

import re

_NAME = re.compile(r"[a-z0-9]+(_[a-z0-9]+)+", re.ASCII)
_WORD = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*", re.ASCII)
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)
MAX_NAME = 120


def check_name(name: str) -> str:
    """The name of an entry in lower case, if it is valid."""
    if not isinstance(name, str):
        raise TypeError(f"The name of a zoo entry must be a str; received {type(name).__name__}.")
    lowered = name.lower()
    if len(name) > MAX_NAME or not _NAME.fullmatch(lowered):
        raise ValueError(
            "The name of a zoo entry must be <method>_<encoder>_<data>[_<tag>], of at most "
            f"{MAX_NAME} letters, digits and single underscores; received {name[:MAX_NAME]!r}."
        )
    return lowered


def check_word(field: str, text: str) -> None:
    """Raises a ValueError if the text of a field cannot be part of a name."""
    if len(text) > MAX_NAME or not _WORD.fullmatch(text):
        raise ValueError(
            f"{field} must be lowercase letters, digits and single '_'; received "
            f"{text[:MAX_NAME]!r}."
        )


def check_relative_path(path: str) -> str:
    """The path of a file, if it stays below the folder it starts from, and is not hidden."""
    parts = path.split("/")
    if len(path) > 2 * MAX_NAME or not all(_SEGMENT.fullmatch(part) for part in parts):
        raise ValueError(
            "The path of a file must be below the entry's folder, and have only letters, digits, "
            f"'.', '_' and '-'; received {path[: 2 * MAX_NAME]!r}."
        )
    return path

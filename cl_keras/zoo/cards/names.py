"""Names of the zoo: `<method>_<encoder>_<data>[_<tag>]`, and no path before they are checked."""

import re

_NAME = re.compile(r"[a-z0-9]+(_[a-z0-9]+)+", re.ASCII)
_WORD = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*", re.ASCII)
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)
MAX_NAME = 120


def check_name(name):
    """The name of an entry in lower case, if it can be one.

    Raises:
        TypeError: if it is not text.
        ValueError: if it is not of letters, digits and single underscores.
    """
    if not isinstance(name, str):
        raise TypeError(f"A name of the zoo is a str; received {type(name).__name__}.")
    lowered = name.lower()
    if len(name) > MAX_NAME or not _NAME.fullmatch(lowered):
        raise ValueError(
            "A name of the zoo is <method>_<encoder>_<data>[_<tag>], letters, digits and single "
            f"underscores, at most {MAX_NAME}; received {name[:MAX_NAME]!r}."
        )
    return lowered


def is_word(text):
    """Whether `text` can be one word of a name."""
    return len(text) <= MAX_NAME and bool(_WORD.fullmatch(text))


def check_relative_path(path):
    """A path with `/` that stays below the folder it starts from.

    Raises:
        ValueError: if it is absolute, goes up, is hidden, or has characters other than letters,
            digits, `.`, `_` and `-`.
    """
    parts = path.split("/")
    if len(path) > 2 * MAX_NAME or not all(_SEGMENT.fullmatch(part) for part in parts):
        raise ValueError(
            "A file of the zoo is named by a path below the entry's folder, of letters, digits, "
            f"'.', '_' and '-'; received {path[: 2 * MAX_NAME]!r}."
        )
    return path

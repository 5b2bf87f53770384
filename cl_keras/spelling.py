"""Hints for names that were probably mistyped."""

import difflib
from collections.abc import Iterable


def closest(name: str, known: Iterable[str], most: int = 1) -> list[str]:
    """The known names that are most like a name, the best first; none that is not close.

    Args:
        name: what was received.
        known: the names that would have been valid.
        most: how many names to return at most; default: 1.
    """
    return difflib.get_close_matches(name, list(known), n=most, cutoff=0.6)


def did_you_mean(name: str, known: Iterable[str], most: int = 1) -> str:
    """A sentence that names the closest known names, to follow an error; "" if none is close.

    Args:
        name: what was received.
        known: the names that would have been valid.
        most: how many names to offer at most; default: 1.
    """
    found = closest(name, known, most)
    return f" Did you mean {' or '.join(map(repr, found))}?" if found else ""

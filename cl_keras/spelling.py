"""Hints for names that were probably mistyped."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str], *, most: int = 1) -> str:
    """A sentence that names the closest known names, to follow an error; "" if none is close.

    Args:
        name: what was received.
        known: the names that would have been valid.
        most: how many names to offer. Default: 1.
    """
    close = difflib.get_close_matches(name, list(known), n=most, cutoff=0.6)
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""

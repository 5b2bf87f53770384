"""Turns file names into text that is safe to show and store anywhere."""

import unicodedata

SPECIAL = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
"""Unicode categories that a terminal interprets instead of showing, or that UTF-8 cannot hold."""

JOINERS = frozenset("\u200c\u200d")  # within words and emoji of many scripts


def printable(name: str) -> str:
    """A file name in which everything that is not text is escaped.

    Control and direction characters, and bytes that are not UTF-8, become escapes such as `\\x1b`
    or `\\u202e`, and a backslash is doubled, so that different names stay different.

    Args:
        name: a name as returned by `os.listdir`.
    """
    if name.isascii() and name.isprintable() and "\\" not in name:
        return name
    return "".join(map(_escaped, name))


def _escaped(character):
    code = ord(character)
    if character == "\\":
        return "\\\\"
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if unicodedata.category(character) in SPECIAL and character not in JOINERS:
        if code < 0x100:
            return f"\\x{code:02x}"
        return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return character

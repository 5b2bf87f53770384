"""Where a file of the zoo may come from."""

import pathlib
import re
import urllib.parse
import urllib.request

from cl_keras.zoo.cards import names

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
_PRINTABLE = re.compile(r"[!-~]{1,1000}", re.ASCII)
_HUB = re.compile(r"hf://([\w.-]+)/([\w.-]+?)(?:@([\w.-]+))?/(.+)", re.ASCII)
FORMS = "https://…, hf://owner/repository/path, or file:///… in a catalogue on this machine"


def check(address, *, referrer=None):
    """Refuses an address that nothing should be read from.

    Args:
        address: with its scheme.
        referrer: the address of what named it, a catalogue or a redirecting server; None: this
            machine. What came over the network can name no files, and what came from elsewhere
            no servers of this machine.

    Raises:
        ValueError: for another scheme, http:// to another machine, a password inside, and what is
            no address at all.
    """
    if not _PRINTABLE.fullmatch(address) or "\\" in address:
        raise ValueError(f"{address[:200]!r} is no address. Expected {FORMS}.")
    scheme = address.partition("://")[0]
    if scheme == "hf":
        parse_hub(address)
    elif scheme == "file":
        local_path(address)
        _refuse_if(referrer, address, f"names a file of this machine, and {referrer} may not")
    elif scheme in ("https", "http"):
        host = _host(address)
        here = host in LOCAL_HOSTS
        _refuse_if(scheme == "http" and not here, address, "is not encrypted; give https://")
        from_remote = referrer is not None and _is_remote(referrer)
        _refuse_if(here and from_remote, address, f"names this machine, and {referrer} may not")
    else:
        raise ValueError(f"{address[:200]!r} is no address of a known kind. Expected {FORMS}.")


def parse_hub(address):
    """`hf://owner/repository[@revision]/path` as (repository, revision or None, path).

    Raises:
        ValueError: if it is no such thing.
    """
    found = _HUB.fullmatch(address)
    if not found or ".." in "".join(found.group(1, 2)):
        raise ValueError(
            f"An address of the Hugging Face Hub is hf://owner/repository[@revision]/path; "
            f"received {address[:200]!r}."
        )
    owner, repository, revision, path = found.groups()
    return f"{owner}/{repository}", revision, names.check_relative_path(path)


def local_path(address):
    """The path that a `file://` address names.

    Raises:
        ValueError: if it names another machine, or no absolute path.
    """
    parts = urllib.parse.urlsplit(address)
    path = pathlib.Path(urllib.request.url2pathname(parts.path))
    if parts.netloc not in ("", "localhost") or not path.is_absolute() or "\0" in str(path):
        raise ValueError(f"A file is named as file:///folder/name; received {address[:200]!r}.")
    return path


def last_segment(address):
    """What stands behind the last slash of an address, without `?` and `#`."""
    return urllib.parse.urlsplit(address).path.rpartition("/")[2]


def _is_remote(address):
    return address.startswith("hf://") or _host(address) not in LOCAL_HOSTS


def _host(address):
    try:
        parts = urllib.parse.urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{address[:200]!r} is no address: {error}.") from None
    if not host or "@" in parts.netloc:
        raise ValueError(
            f"The address {address[:200]!r} must name a host, and no user or password."
        )
    return host


def _refuse_if(condition, address, why):
    if condition:
        raise ValueError(f"The address {address[:200]!r} {why}.")

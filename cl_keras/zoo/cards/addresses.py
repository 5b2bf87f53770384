"""The addresses that files of the zoo may come from."""

import ipaddress
import pathlib
import re
import socket
import urllib.parse
import urllib.request

from cl_keras.zoo.cards import names

FORMS = "https://…, hf://owner/repository/path, or file:///… in a catalog on this machine"
MAX_SHOWN = 200
_PRINTABLE = re.compile(r"[!-~]{1,4000}", re.ASCII)
_HUB = re.compile(r"hf://([\w.-]+)/([\w.-]+?)(?:@([\w.-]+))?/(.+)", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9_.-]+|[0-9A-Fa-f:.]+(%[\w.-]+)?", re.ASCII)


def check(address: str, *, referrer: str | None = None) -> None:
    """Refuses an address that nothing should be read from.

    Args:
        address: address with its scheme.
        referrer: address of the catalog or redirecting server that named it; default: None, this
            machine. A referrer from the network cannot name files, and one from another machine
            cannot name servers of this machine or its network.

    Raises:
        ValueError: for another scheme, http:// to another machine, a password inside, or anything
            that is not an address. The message does not repeat passwords.
    """
    if not _PRINTABLE.fullmatch(address) or "\\" in address:
        raise ValueError(f"{shown(address)!r} is not an address. Expected {FORMS}.")
    scheme = address.partition("://")[0]
    by = referrer and shown(referrer)
    if scheme == "hf":
        parse_hub(address)
    elif scheme == "file":
        local_path(address)
        _refuse_if(referrer, address, f"is a file on this machine, which {by} may not name")
    elif scheme in ("https", "http"):
        host = _host(address)
        _refuse_if(
            scheme == "http" and not _is_here(host), address, "is not encrypted; use https://"
        )
        inside = _is_here(host) or not is_public(host)
        from_remote = referrer is not None and is_remote(referrer)
        _refuse_if(inside and from_remote, address, f"is on this machine, which {by} may not name")
    else:
        raise ValueError(f"{shown(address)!r} is not a supported address. Expected {FORMS}.")


def parse_hub(address: str) -> tuple[str, str | None, str]:
    """`hf://owner/repository[@revision]/path` as (repository, revision or None, path)."""
    found = _HUB.fullmatch(address)
    if not found or ".." in "".join(found.group(1, 2)):
        raise ValueError(
            f"An address of the Hugging Face Hub must be hf://owner/repository[@revision]/path; "
            f"received {shown(address)!r}."
        )
    owner, repository, revision, path = found.groups()
    return f"{owner}/{repository}", revision, names.check_relative_path(path)


def local_path(address: str) -> pathlib.Path:
    """The absolute path that a `file://` address names on this machine."""
    parts = urllib.parse.urlsplit(address)
    path = pathlib.Path(urllib.request.url2pathname(parts.path))
    if parts.netloc not in ("", "localhost") or not path.is_absolute() or "\0" in str(path):
        raise ValueError(
            f"The address of a file must be file:///folder/name; received {shown(address)!r}."
        )
    return path


def last_segment(address: str) -> str:
    """The part after the last slash of an address, without `?` and `#`."""
    return urllib.parse.urlsplit(address).path.rpartition("/")[2]


def shown(address: str) -> str:
    """An address for messages: without user, password and query, and not too long."""
    bare = re.sub(r"//.*@", "//…@", address, flags=re.DOTALL)
    return re.sub(r"\?.*", "?…", bare, flags=re.DOTALL)[:MAX_SHOWN]


def is_remote(address: str) -> bool:
    """Whether an address is on another machine."""
    return not address.startswith("file:") and (
        address.startswith("hf://") or not _is_here(_host(address))
    )


def _host(address):
    try:
        parts = urllib.parse.urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"{shown(address)!r} is not a valid address.") from None
    if not host or "@" in parts.netloc or not _HOST.fullmatch(host):
        raise ValueError(
            f"The address {shown(address)!r} must have a host, and no user or password."
        )
    return host.rstrip(".")


def _is_here(host):
    """Whether a host is this machine, in whatever spelling."""
    ip = _ip(host)
    if ip is not None:
        return ip.is_loopback
    return host in ("localhost", "localhost.localdomain", "ip6-localhost") or host.endswith(
        ".localhost"
    )


def is_public(host: str) -> bool:
    """Whether a host is a name, or a publicly routable IP address."""
    ip = _ip(host)
    return ip is None or (ip.is_global and not ip.is_multicast)


def _ip(host):
    """The IP address of a host that is written as one, in any form that works, or None."""
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        try:
            return ipaddress.IPv4Address(socket.inet_aton(host))  # 127.1, 0x7f000001, 2130706433
        except OSError:
            return None
    return getattr(ip, "ipv4_mapped", None) or getattr(ip, "sixtofour", None) or ip


def _refuse_if(condition, address, reason):
    if condition:
        raise ValueError(f"The address {shown(address)!r} {reason}.")

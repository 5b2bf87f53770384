"""One file over HTTP: within bounds of size and time, resumed where it broke off.

urllib3 speaks the protocol. Here is what it leaves to its users: resuming, what a server may send,
how slow it may be, and where it may lead to.
"""

import contextlib
import dataclasses
import os
import pathlib
import re
import socket
import ssl
import threading
import time
import urllib.parse
import urllib.request

import urllib3
from tqdm.auto import tqdm

from cl_keras.version import __version__
from cl_keras.zoo.cards import addresses

RETRIED = (408, 425, 429, 500, 502, 503, 504)
MAX_REDIRECTS = 10
CHUNK = 1 << 17
PROGRESS = 1 << 20
"""An attempt that brought the file so many bytes further than any before did not fail."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a download may cost.

    Args:
        timeout: seconds to wait for the server, to connect, for its answer, and for each piece.
        attempts: how many may fail in a row.
        total_attempts: how many there may be, failed or not.
        pause: seconds before the second attempt; doubled before each that follows, up to a minute.
        window: seconds over which the speed is measured.
        min_bytes_per_second: below it the attempt has failed.
        max_bytes: of a file whose size is not known.
    """

    timeout: float = 30.0
    attempts: int = 6
    total_attempts: int = 200
    pause: float = 1.0
    window: float = 30.0
    min_bytes_per_second: int = 1024
    max_bytes: int = 8 * 2**30


class _Failed(Exception):
    """An attempt failed in a way that the next one may not."""


@dataclasses.dataclass(frozen=True)
class Download:
    """A file to be downloaded; what is there already is resumed.

    Attributes:
        address: https://, or http:// on this machine.
        path: of the unfinished file; the caller checks it and gives it its name.
        size: in bytes, or None where it is not known.
        anchored: whether the caller knows the file's hash. If not, what is there is only resumed if
            the server vouches that its file is still the same.
        limits: `Limits`.
        progress: show a progress bar.
        token: shown to this host alone, never to one that it redirects to.
        referrer: address of the catalog that named this one, if it came over the network. What it
            names on other hosts must be on the internet, by the number that is connected to.
    """

    address: str
    path: pathlib.Path
    size: int | None = None
    anchored: bool = False
    limits: Limits = Limits()
    progress: bool = True
    token: str | None = None
    referrer: str | None = None

    def run(self) -> None:
        """Downloads the file; if all attempts fail, the partial file is kept for the next call."""
        addresses.check(self.address)
        if not self.address.startswith(("https://", "http://")):
            raise ValueError(f"{self.address!r} is not an address of the web, https://….")
        shown = addresses.shown(self.address)
        limits, failures, furthest = self.limits, 0, _size(self.path)
        title, hidden = addresses.last_segment(self.address)[:40], not self.progress
        with tqdm(desc=title, total=self.size, unit="B", unit_scale=True, disable=hidden) as bar:
            for attempt in range(1, limits.total_attempts + 1):
                try:
                    return self._attempt(bar)
                except ValueError as error:
                    raise ValueError(f"{shown}: {error}") from None
                except _Failed as error:
                    reached = _size(self.path)
                    failures = 1 if reached >= furthest + PROGRESS else failures + 1
                    furthest = max(furthest, reached)
                    if failures >= limits.attempts or attempt == limits.total_attempts:
                        kept = " What came is kept, and the next call resumes it."
                        raise OSError(
                            f"{shown} could not be downloaded: {error}; {attempt} attempts "
                            f"failed.{kept if reached else ''}"
                        ) from None
                time.sleep(min(limits.pause * 2 ** (failures - 1), 60.0))

    def _attempt(self, bar):
        note = self.path.with_name(self.path.name + ".validator")
        with open(self.path, "ab", opener=_without_links) as file:
            validator = None if self.anchored else _read_note(note)
            have = file.tell() if self.anchored or validator else 0
            if have and have == self.size:
                return
            if self.size is not None and have > self.size:
                have = 0
            with self._answer(have, validator) as response:
                if response.status == 416 and have:
                    file.truncate(0)
                    raise _Failed("what was there already is longer than the file")
                start = self._start_of(response, have)
                file.truncate(start)
                total = self._total(response, start)
                if start == 0 and not self.anchored:
                    note.write_text(_validator(response), "utf-8")
                bar.reset(total)
                bar.update(start)
                self._copy(response, file, start, total, bar)

    @contextlib.contextmanager
    def _answer(self, have, validator):
        """The server's answer to a request for the bytes from `have` on, after all redirects."""
        headers = {"User-Agent": f"cl_keras/{__version__}", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        if validator and have:
            headers["If-Range"] = validator
        address, referrer = self.address, self.referrer
        for _ in range(MAX_REDIRECTS):
            own = _origin(address) == _origin(self.address)
            secret = {"Authorization": f"Bearer {self.token}"} if self.token and own else {}
            with _pools(address, referrer) as pools:
                with _failures(address):
                    response = pools.request(
                        "GET",
                        address,
                        headers=headers | secret,
                        timeout=self.limits.timeout,
                        retries=False,
                        redirect=False,
                        preload_content=False,
                        decode_content=False,
                        enforce_content_length=False,  # `_copy` does, and can be resumed
                    )
                with contextlib.closing(response):
                    location = response.get_redirect_location()
                    if not location:
                        yield response
                        return
            address, referrer = _redirected(address, location), address
        raise OSError(f"{addresses.shown(address)}: more than {MAX_REDIRECTS} redirects.")

    def _start_of(self, response, have):
        """Where in the file the answer begins; a server may ignore that a part was asked for."""
        answer = f"the server answered {response.status} {response.reason}"
        if response.status in RETRIED:
            raise _Failed(answer)
        if response.status not in (200, 206):
            raise OSError(f"{addresses.shown(self.address)}: {answer}.")
        if response.status == 200:
            return 0
        sent = response.headers.get("Content-Range", "")
        if not sent.startswith(f"bytes {have}-"):
            raise ValueError(
                f"asked for the bytes from {have} on, the server sent {sent[:80]!r}. Remove the "
                "partial file to begin again."
            )
        return have

    def _total(self, response, start):
        """Size of the whole file, or None; what cannot be the file is refused before it is read."""
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind in ("text/html", "application/xhtml+xml"):
            raise ValueError("it is a web page, not a file. Open it in a browser to read it.")
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise ValueError("the server sends the file in an encoding not asked for.")
        length = response.headers.get("Content-Length")
        if length is None:
            if self.size is None and not self.anchored:
                raise ValueError("neither size nor hash is known, nor how much will come.")
            return self.size
        if not re.fullmatch(r"\d{1,15}", length, re.ASCII):
            raise ValueError(f"the server names {length[:40]!r} as the file's length.")
        total = start + int(length)
        if self.size is not None and total != self.size:
            raise ValueError(
                f"it has {total} bytes; {self.size} were expected, by its card or from the first "
                "download. It is another file, or damaged."
            )
        if self.size is None and not 0 < total <= self.limits.max_bytes:
            raise ValueError(f"it has {total} bytes; at most {self.limits.max_bytes} are taken.")
        return total

    def _copy(self, response, file, received, total, bar):
        most = total or self.limits.max_bytes
        mark, marked = time.monotonic(), received
        while True:
            with _failures(self.address):
                chunk = response.read1(CHUNK)
            if not chunk:
                break
            received += len(chunk)
            if received > most:
                file.truncate(0)
                raise ValueError(f"the server sends more than the {most} bytes of the file.")
            file.write(chunk)
            bar.update(len(chunk))
            elapsed = time.monotonic() - mark
            if elapsed >= self.limits.window:
                slowest = self.limits.min_bytes_per_second
                if (received - marked) / elapsed < slowest:
                    raise _Failed(f"it came slower than {slowest} bytes per second")
                mark, marked = time.monotonic(), received
        if total is not None and received < total:
            raise _Failed(f"the connection broke off after {received} of {total} bytes")


@contextlib.contextmanager
def _failures(address):
    """Turns the errors of a connection into `_Failed`, unless another attempt is in vain."""
    try:
        yield
    except (urllib3.exceptions.HTTPError, OSError) as error:
        reason = error.args[0] if error.args else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise OSError(
                f"{addresses.shown(address)}: its certificate is not trusted: {reason}."
            ) from None
        raise _Failed(str(error) or type(error).__name__) from None


def _redirected(address, location):
    """Where a server leads to, if a file may come from there; never from https to http."""
    target = urllib.parse.urljoin(address, location)
    addresses.check(target, referrer=address)
    scheme = urllib.parse.urlsplit(address).scheme
    if not target.startswith(("https://", f"{scheme}://")):
        raise ValueError(
            f"{addresses.shown(address)} leads from {scheme} to {addresses.shown(target)!r}, which "
            "is refused."
        )
    return target


def _without_links(path, flags):
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _size(path):
    return path.stat().st_size if path.exists() else 0


def _read_note(path):
    return path.read_text("utf-8").strip() if path.is_file() and not path.is_symlink() else None


def _validator(response):
    """By what a server can tell whether its file is still the same; empty if by nothing."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _host(address):
    return urllib.parse.urlsplit(address).hostname


def _origin(address):
    return urllib.parse.urlsplit(address)[:2]


class _Watched:
    """A connection whose server has `timeout` seconds for all of its headers together."""

    def getresponse(self):
        gave_up = threading.Event()

        def give_up():
            gave_up.set()
            with contextlib.suppress(OSError, AttributeError):  # closed meanwhile
                self.sock.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(self.timeout, give_up)
        timer.daemon = True
        timer.start()
        try:
            return super().getresponse()
        finally:
            timer.cancel()
            if gave_up.is_set():  # it ends in an error then, or in half of the headers
                raise TimeoutError("the server took too long to answer")


class _Outside:
    """A connection that is given up, before anything is sent, if it leads into this network."""

    def _new_conn(self):
        connected = super()._new_conn()
        number = connected.getpeername()[0]
        if not addresses.is_public(number):
            connected.close()
            raise ValueError(
                f"The host {self.host} has the address {number}, which is one of this machine or "
                "its network: a catalog or a server elsewhere may not name it."
            )
        return connected


def _pool(base, mixins):
    """A pool of urllib3 whose connections have these classes before their own."""
    name = base.ConnectionCls.__name__  # urllib3's errors show it
    connection = type(name, (*mixins, base.ConnectionCls), {})
    return type("_Pool", (base,), {"ConnectionCls": connection})


def _must_be_outside(address, referrer):
    """Whether a server must be one of the internet: another host named it, which is one."""
    if referrer is None or not addresses.is_remote(referrer) or _host(address) == _host(referrer):
        return False
    try:
        found = socket.getaddrinfo(_host(referrer), None, type=socket.SOCK_STREAM)
    except OSError:  # it has no number here, as behind a proxy
        return True
    return all(addresses.is_public(number[0]) for *_, number in found)


def _pools(address, referrer):
    """Connections, through the proxy that the environment names for this address, if any."""
    proxy = urllib.request.getproxies().get(urllib.parse.urlsplit(address).scheme)
    tls = ssl.create_default_context()
    if proxy and not urllib.request.proxy_bypass(_host(address)):
        login = urllib3.util.parse_url(proxy).auth
        headers = urllib3.make_headers(proxy_basic_auth=login) if login else None
        pools, outside = urllib3.ProxyManager(proxy, proxy_headers=headers, ssl_context=tls), False
    else:
        pools, outside = urllib3.PoolManager(ssl_context=tls), _must_be_outside(address, referrer)
    mixins = (_Outside, _Watched) if outside else (_Watched,)
    classes = pools.pool_classes_by_scheme.items()
    pools.pool_classes_by_scheme = {scheme: _pool(base, mixins) for scheme, base in classes}
    return pools

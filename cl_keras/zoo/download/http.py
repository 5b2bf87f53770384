"""One file over HTTP: within bounds of size and time, taken up again where it broke off."""

import contextlib
import dataclasses
import http.client
import os
import re
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request

from tqdm.auto import tqdm

from cl_keras.version import __version__
from cl_keras.zoo.cards import addresses

RETRIED = (408, 425, 429, 500, 502, 503, 504)
CHUNK = 1 << 17
PROGRESS = 1 << 20
"""An attempt that brought so many bytes does not count as one that failed."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a download may cost.

    Args:
        timeout: seconds to wait for the server, to connect, for its answer, and for each piece.
        attempts: how many may fail in a row.
        pause: seconds before the second attempt; doubled before each that follows, up to a minute.
        window: seconds over which the speed is taken.
        min_bytes_per_second: bytes a second; below it the attempt has failed.
        max_bytes: bytes of a file whose size is not known.
    """

    timeout: float = 30.0
    attempts: int = 6
    pause: float = 1.0
    window: float = 30.0
    min_bytes_per_second: int = 1024
    max_bytes: int = 8 * 2**30


class _Failed(Exception):
    """An attempt failed in a way that the next one may not."""


def download(address, path, *, size=None, anchored=False, limits=None, progress=True):
    """Downloads to `path`, and goes on with what is there already.

    Args:
        address: https://, or http:// on this machine.
        path: of the unfinished file; the caller checks it and gives it its name.
        size: in bytes, or None where it is not known.
        anchored: whether the caller knows the file's hash. If not, what is there is only gone on
            with if the server vouches that its file is still the same.
        limits: `Limits`.
        progress: show a progress bar.

    Raises:
        ValueError: if the server sends what cannot be the file, or sends it elsewhere in the open.
        OSError: if it could not be had, after all attempts; what came stays, for the next call.
    """
    addresses.check(address)
    if not address.startswith(("https://", "http://")):
        raise ValueError(f"{address!r} is not at an address of the web, https://….")
    limits, failures = limits or Limits(), 0
    title = os.path.basename(address)[:40]
    with tqdm(desc=title, total=size, unit="B", unit_scale=True, disable=not progress) as bar:
        while True:
            before = _size(path)
            try:
                return _attempt(address, path, size, anchored, limits, bar)
            except _Failed as error:
                failures = 1 if _size(path) - before >= PROGRESS else failures + 1
                if failures >= limits.attempts:
                    raise OSError(
                        f"{address} could not be downloaded: {error}; {limits.attempts} attempts "
                        "failed. What came is kept, and the next call goes on from there."
                    ) from None
            time.sleep(min(limits.pause * 2 ** (failures - 1), 60.0))


def _attempt(address, path, size, anchored, limits, bar):
    note = path.with_name(path.name + ".validator")
    with _open(path) as file:
        validator = None if anchored else _read_note(note)
        have = file.seek(0, os.SEEK_END) if anchored or validator else 0
        if have and have == size:
            return
        if size is not None and have > size:
            have = 0
        with _answer(address, have, validator, limits) as response:
            start = _start_of(response, have)
            file.seek(start)
            file.truncate()
            total = _total(response, address, start, size, anchored, limits)
            if start == 0 and not anchored:
                note.write_text(_validator(response), "utf-8")
            bar.reset(total)
            bar.update(start)
            _copy(response, file, start, total, address, limits, bar)


def _answer(address, have, validator, limits):
    """The server's answer, whose status is 200 or 206."""
    headers = {"User-Agent": f"cl_keras/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator:
            headers["If-Range"] = validator
    try:
        response = _opener().open(
            urllib.request.Request(address, headers=headers), timeout=limits.timeout
        )
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:
            return _answer(address, 0, None, limits)
        if error.code in RETRIED:
            raise _Failed(f"the server answered {error.code} {error.reason}") from None
        raise OSError(f"{address}: the server answered {error.code} {error.reason}.") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise OSError(f"{address}: its certificate is not trusted: {reason}.") from None
        raise _Failed(str(reason) or type(reason).__name__) from None
    if response.status not in (200, 206):
        response.close()
        raise OSError(f"{address}: the server answered {response.status}, which is no file.")
    return response


def _start_of(response, have):
    """Where in the file the answer begins; a server may ignore that part of it was asked for."""
    if response.status == 200:
        return 0
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", ""))
    if not found or int(found[1]) != have:
        raise ValueError(
            f"{response.url}: asked for the bytes from {have} on, the server sent "
            f"{response.headers.get('Content-Range')!r}. Remove the unfinished file to begin again."
        )
    return have


def _total(response, address, start, size, anchored, limits):
    """Size of the whole file, or None; what cannot be the file is refused before it is read."""
    kind = response.headers.get_content_type()
    if kind in ("text/html", "application/xhtml+xml"):
        raise ValueError(
            f"{address} gives a web page, not a file. Open it in a browser to see what it says."
        )
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise ValueError(f"{address}: the server sends the file in an encoding not asked for.")
    length = response.headers.get("Content-Length")
    if length is None:
        if size is None and not anchored:
            raise ValueError(f"{address}: neither size nor hash is known, nor how much will come.")
        return size
    if not re.fullmatch(r"\d{1,15}", length, re.ASCII):
        raise ValueError(f"{address}: the server names {length[:40]!r} as the file's length.")
    total = start + int(length)
    if size is not None and total != size:
        raise ValueError(
            f"{address} has {total} bytes; {size} were expected, by its card or from the first "
            "download. It is another file, or damaged."
        )
    if total > (size or limits.max_bytes) or total == 0:
        raise ValueError(f"{address} has {total} bytes; at most {limits.max_bytes} are taken.")
    return total


def _copy(response, file, received, total, address, limits, bar):
    most = total or limits.max_bytes
    mark, marked = time.monotonic(), received
    while True:
        try:
            chunk = response.read1(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _Failed(str(error) or type(error).__name__) from None
        if not chunk:
            break
        received += len(chunk)
        if received > most:
            file.truncate(0)
            raise ValueError(f"{address} sends more than the {most} bytes that it should have.")
        file.write(chunk)
        bar.update(len(chunk))
        elapsed = time.monotonic() - mark
        if elapsed >= limits.window:
            if (received - marked) / elapsed < limits.min_bytes_per_second:
                raise _Failed(f"it came slower than {limits.min_bytes_per_second} bytes a second")
            mark, marked = time.monotonic(), received
    if total is not None and received < total:
        raise _Failed(f"the connection broke off after {received} of {total} bytes")


def _open(path):
    """An unfinished file, made if need be, and never through a symbolic link."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "r+b")


def _size(path):
    return path.stat().st_size if path.exists() else 0


def _read_note(path):
    return path.read_text("utf-8").strip() if path.is_file() and not path.is_symlink() else None


def _validator(response):
    """By what a server can tell whether its file is still the same; empty if by nothing."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to where a file may come from, and never from https to http."""

    def http_error_302(self, request, answer, *rest):
        answer.close()  # else urllib reads all that comes with it, however much that is
        return super().http_error_302(request, answer, *rest)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(self, request, answer, code, message, headers, address):
        addresses.check(address, referrer=request.full_url)
        if request.type == "https" and not address.startswith("https://"):
            raise ValueError(f"{request.full_url} leads from https to {address[:200]!r}: refused.")
        return super().redirect_request(request, answer, code, message, headers, address)


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
            response = super().getresponse()
        finally:
            timer.cancel()
        if gave_up.is_set():
            response.close()
            raise TimeoutError("the server took too long to answer")
        return response


class _Connection(_Watched, http.client.HTTPConnection):
    pass


class _SecureConnection(_Watched, http.client.HTTPSConnection):
    pass


class _Handler(urllib.request.HTTPHandler):
    def http_open(self, request):
        return self.do_open(_Connection, request)


class _SecureHandler(urllib.request.HTTPSHandler):
    def https_open(self, request):
        return self.do_open(_SecureConnection, request, context=ssl.create_default_context())


def _opener():
    """Without the handlers of urllib that read files, FTP and `data:`."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _Handler(),
        _SecureHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener

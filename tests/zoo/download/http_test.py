import dataclasses
import shutil
import socket
import ssl
import subprocess
import time

import pytest

from cl_keras.zoo.download import http
from tests.zoo import server as answers
from tests.zoo.examples import CONTENT

FAST = http.Limits(timeout=0.6, attempts=3, pause=0.01, window=0.3, min_bytes_per_second=10_000)


def get(server, path, target, **options):
    known = {"size": len(CONTENT), "anchored": True, "limits": FAST, "progress": False}
    http.Download(server.address + path, target, **known | options).run()
    return target.read_bytes()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "part"


def test_a_file_is_downloaded_completely(server, target):
    server.answers["/a.npz"] = CONTENT
    assert get(server, "/a.npz", target) == CONTENT
    assert "Range" not in server.requests[0][1]
    assert server.requests[0][1]["Accept-Encoding"] == "identity"


def test_an_interrupted_download_resumes(server, target):
    server.answers["/a.npz"] = answers.dropping(CONTENT, at=len(CONTENT) // 2)
    assert get(server, "/a.npz", target) == CONTENT
    assert [headers.get("Range") for _, headers in server.requests] == [
        None,
        f"bytes={len(CONTENT) // 2}-",
    ]


def test_the_next_call_resumes_where_the_last_one_gave_up(server, target):
    server.answers["/a.npz"] = answers.dropping(CONTENT, at=1000, times=3)
    with pytest.raises(OSError, match=r"broke off after 1000 of \d+ bytes; 3 attempts failed"):
        get(server, "/a.npz", target)
    assert target.read_bytes() == CONTENT[:1000]
    assert get(server, "/a.npz", target) == CONTENT
    assert server.requests[-1][1]["Range"] == "bytes=1000-"


def test_a_complete_file_is_not_requested_again(server, target):
    target.write_bytes(CONTENT)
    assert get(server, "/a.npz", target) == CONTENT
    assert not server.requests


def test_a_partial_file_that_is_too_long_is_started_over(server, target):
    target.write_bytes(CONTENT + b"more")
    server.answers["/a.npz"] = CONTENT
    assert get(server, "/a.npz", target) == CONTENT


def test_a_server_may_ignore_the_range(server, target):
    target.write_bytes(b"other bytes, which are not in the file")
    server.answers["/a.npz"] = answers.whole(CONTENT)
    assert get(server, "/a.npz", target) == CONTENT
    assert "Range" in server.requests[0][1]


def test_a_range_beyond_the_end_is_started_over(server, target):
    target.write_bytes(CONTENT)
    server.answers["/a.npz"] = answers.file(CONTENT)
    assert get(server, "/a.npz", target, size=None) == CONTENT
    assert len(server.requests) == 2


@pytest.mark.parametrize("validator", ["ETag", "Last_Modified"])
def test_an_unknown_file_is_resumed_only_if_it_is_the_same(server, target, validator):
    vouched = {validator: '"1"' if validator == "ETag" else "Wed, 21 Oct 2015 07:28:00 GMT"}
    server.answers["/a.npz"] = answers.dropping(CONTENT, at=1000, **vouched)
    assert get(server, "/a.npz", target, anchored=False) == CONTENT
    assert server.requests[1][1]["Range"] == "bytes=1000-"
    assert server.requests[1][1]["If-Range"] == vouched[validator]


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"1"'}])
def test_an_unknown_file_is_started_over_without_a_validator(server, target, headers):
    server.answers["/a.npz"] = answers.dropping(CONTENT, at=1000, **headers)
    assert get(server, "/a.npz", target, anchored=False) == CONTENT
    assert "Range" not in server.requests[1][1]


@pytest.mark.parametrize("code", http.RETRIED)
def test_a_temporary_error_is_retried(server, target, code):
    server.answers["/a.npz"] = answers.then(answers.status(code), answers.file(CONTENT))
    assert get(server, "/a.npz", target) == CONTENT
    assert len(server.requests) == 2


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 418, 451, 204, 304])
def test_a_permanent_error_is_not_retried(server, target, code):
    server.answers["/a.npz"] = answers.status(code, Content_Length=None if code == 204 else 0)
    with pytest.raises(OSError, match=f"the server answered {code}"):
        get(server, "/a.npz", target)
    assert len(server.requests) == 1


def test_an_error_follows_after_all_attempts(server, target):
    server.answers["/a.npz"] = answers.status(500)
    with pytest.raises(OSError, match="answered 500 .*; 3 attempts failed"):
        get(server, "/a.npz", target)
    assert len(server.requests) == 3


def test_an_unreachable_server_is_an_error(tmp_path, target):
    with pytest.raises(OSError, match="Connection refused; 2 attempts failed"):
        limits = dataclasses.replace(FAST, attempts=2)
        http.Download("http://127.0.0.1:9/a", target, limits=limits, progress=False).run()


@pytest.mark.parametrize(
    "answer, message",
    [
        (answers.whole(CONTENT + b"x"), "were expected, by its card"),
        (answers.whole(CONTENT[:-1]), "were expected, by its card"),
        (answers.whole(CONTENT + b"x" * 10, Content_Length=None), "sends more than"),
        (answers.whole(CONTENT, Content_Length=5), "were expected, by its card"),
        (answers.whole(CONTENT, Content_Length="many"), "names 'many' as the file's length"),
        (answers.whole(CONTENT, Content_Length=-1), "names '-1' as the file's length"),
        (answers.whole(CONTENT, Content_Length="9" * 30), "as the file's length"),
        (answers.whole(b"<html>", Content_Type="text/html; charset=utf-8"), "a web page"),
        (answers.whole(CONTENT, Content_Type="text/html"), "a web page"),
        (answers.whole(CONTENT, Content_Encoding="gzip"), "in an encoding not asked for"),
        (answers.redirect("http://example.org/a"), "not encrypted"),
        (answers.redirect("http://169.254.169.254/latest"), "not encrypted"),
        (answers.redirect("https://user:word@example.org/a"), "no user or password"),
        (answers.status(206, CONTENT, Content_Range="bytes 0-4/5"), "the bytes from 3 on"),
        (answers.status(206, CONTENT, Content_Range="bytes x-y/z"), "the bytes from 3 on"),
        (answers.status(206, CONTENT), "the bytes from 3 on"),
    ],
)
def test_responses_that_cannot_be_the_file_are_refused_at_once(server, target, answer, message):
    server.answers["/a.npz"] = answer
    if "bytes from" in message:
        target.write_bytes(CONTENT[:3])
    with pytest.raises(ValueError, match=message):
        get(server, "/a.npz", target)
    assert len(server.requests) == 1
    assert not target.exists() or target.stat().st_size <= len(CONTENT)


@pytest.mark.parametrize(
    "place", ["file:///etc/passwd", "ftp://example.org/a", "data:,a", "gopher:a"]
)
def test_redirects_to_files_and_other_schemes_are_refused(server, target, place):
    server.answers["/a.npz"] = answers.redirect(place)
    with pytest.raises((OSError, ValueError), match="302|address"):
        get(server, "/a.npz", target)
    assert target.read_bytes() == b""


def test_redirects_on_this_machine_are_followed_up_to_a_limit(server, target):
    server.answers["/a.npz"] = answers.redirect("/b.npz")
    server.answers["/b.npz"] = CONTENT
    assert get(server, "/a.npz", target) == CONTENT
    server.answers["/c.npz"] = answers.redirect("/c.npz")
    target.unlink()
    with pytest.raises(OSError, match="more than 10 redirects"):
        get(server, "/c.npz", target)
    assert server.count("/c.npz") < 15


def test_redirects_from_https_to_http_are_refused():
    for place in ("http://example.org/a", "http://127.0.0.1/a", "https://localhost/a"):
        with pytest.raises(ValueError, match="not encrypted|is on this machine"):
            http._redirected("https://example.org/a", place)
    assert http._redirected("https://example.org/a/b", "/c") == "https://example.org/c"
    assert http._redirected("https://a.org/a", "https://b.com/b") == "https://b.com/b"


def test_a_server_that_breaks_off_early_and_late_in_turn_is_abandoned(server, target):
    """Only bytes beyond the largest size reached count as progress."""
    content = CONTENT * 3
    late, early = http.PROGRESS * 3 // 2, 1

    def answer(handler, number):
        at = late if number % 2 else early
        answers.send(handler, 200, Content_Length=len(content))
        handler.wfile.write(content[:at])
        handler.close_connection = True

    server.answers["/a.npz"] = answer
    with pytest.raises(OSError, match="3 attempts failed"):
        get(server, "/a.npz", target, size=len(content), anchored=False)
    assert len(server.requests) == 3


def test_slow_progress_ends_too(server, target):
    def answer(handler, number):
        answers.send(handler, 200, Content_Length=100 * http.PROGRESS)
        handler.wfile.write(bytes(number * (http.PROGRESS + 1)))
        handler.close_connection = True

    server.answers["/a.npz"] = answer
    limits = dataclasses.replace(FAST, total_attempts=5)
    with pytest.raises(OSError, match="5 attempts failed"):
        get(server, "/a.npz", target, size=None, anchored=False, limits=limits)


def test_a_token_is_sent_only_to_its_host(server, target):
    other = answers.Server()
    other.answers["/b"] = CONTENT
    server.answers["/a.npz"] = answers.redirect("/c")
    server.answers["/c"] = answers.redirect(other.address + "/b")
    try:
        assert get(server, "/a.npz", target, token="secret") == CONTENT
        shown = [headers.get("Authorization") for _, headers in server.requests]
        assert shown == ["Bearer secret"] * 2
        assert "Authorization" not in other.requests[0][1]
    finally:
        other.close()


def test_a_redirect_with_an_endless_body_is_not_read(server, target):
    def answer(handler, _):
        answers.send(handler, 302, Location="/b.npz", Content_Length=10**12)
        for _ in range(1000):
            handler.wfile.write(bytes(1000))

    server.answers["/a.npz"], server.answers["/b.npz"] = answer, CONTENT
    assert get(server, "/a.npz", target) == CONTENT


def test_a_proxy_is_used_and_its_password_never_shown(server, target, monkeypatch):
    server.answers["http://localhost:9/a.npz"] = CONTENT
    proxy = server.address.replace("http://", "http://user:hidden@")
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("no_proxy", "")
    known = {"limits": FAST, "progress": False, "size": len(CONTENT)}
    http.Download("http://localhost:9/a.npz", target, **known).run()
    assert target.read_bytes() == CONTENT
    assert server.requests[0][1]["proxy-authorization"].startswith("Basic ")


@pytest.fixture
def secure(tmp_path):
    """An https server, and the file of its self-signed certificate."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl, to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext".split()
    names = ["subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate]
    subprocess.run([*make, *names], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    server = answers.Server(tls)
    yield server, certificate
    server.close()


def test_a_certificate_must_be_trusted(secure, target, monkeypatch):
    server, certificate = secure
    server.answers["/a.npz"] = CONTENT
    with pytest.raises(OSError, match="its certificate is not trusted"):
        get(server, "/a.npz", target)
    assert not server.requests
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert get(server, "/a.npz", target) == CONTENT


def test_redirects_into_this_network_are_not_followed(secure, target, monkeypatch):
    """Names resolve to this machine, as any DNS server may answer at any time."""
    server, certificate = secure
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    resolve, port = socket.getaddrinfo, server.address.rpartition(":")[2]
    numbers = {"evil.example": "127.0.0.1", "inside.example": "127.0.0.1", "zoo.example": "8.8.8.8"}

    def getaddrinfo(host, *more, **options):
        return resolve(numbers.get(host, host), *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    def fetch(referrer):
        options = {"size": len(CONTENT), "limits": FAST, "progress": False, "referrer": referrer}
        http.Download(f"https://evil.example:{port}/a.npz", target, **options).run()

    with pytest.raises(ValueError, match="evil.example has the address 127.0.0.1.*may not name it"):
        fetch("https://zoo.example/catalog.json")
    assert not server.requests
    # Where the user, or a catalog of the same network, names it, the certificate decides.
    for referrer in (None, "https://inside.example/catalog.json", f"https://evil.example:{port}/c"):
        with pytest.raises(OSError, match="its certificate is not trusted"):
            fetch(referrer)
    server.answers["/a.npz"] = answers.redirect(f"https://evil.example:{port}/b.npz")
    monkeypatch.setattr(http, "_must_be_outside", lambda address, by: "evil" in address and by)
    with pytest.raises(ValueError, match="evil.example has the address 127.0.0.1"):
        get(server, "/a.npz", target)


def test_a_secure_server_must_not_redirect_to_an_insecure_one(secure, target, monkeypatch):
    server, certificate = secure
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server.answers["/a.npz"] = answers.redirect(server.address.replace("https", "http") + "/b")
    with pytest.raises(ValueError, match="leads from https to 'http://localhost"):
        get(server, "/a.npz", target)


def test_a_server_that_sends_too_slowly_is_abandoned(server, target):
    server.answers["/a.npz"] = answers.slow(CONTENT, pieces=10_000, seconds=0.05)
    begin = time.monotonic()
    with pytest.raises(OSError, match="slower than 10000 bytes per second"):
        get(server, "/a.npz", target, limits=dataclasses.replace(FAST, attempts=1))
    assert time.monotonic() - begin < 3


def test_a_silent_server_is_abandoned(server, target):
    server.answers["/a.npz"] = answers.slow(CONTENT, pieces=2, seconds=5)
    begin = time.monotonic()
    with pytest.raises(OSError, match="timed out"):
        get(server, "/a.npz", target, limits=dataclasses.replace(FAST, attempts=1))
    assert time.monotonic() - begin < 3


def test_a_server_that_drips_its_headers_is_abandoned(server, target):
    server.answers["/a.npz"] = answers.slow_headers(seconds=0.1, times=100)
    begin = time.monotonic()
    with pytest.raises(OSError, match="took too long to answer|1 attempts failed"):
        get(server, "/a.npz", target, limits=dataclasses.replace(FAST, attempts=1))
    assert time.monotonic() - begin < 3
    assert target.read_bytes() == b""


def test_a_response_without_length_ends_with_the_connection(server, target):
    server.answers["/a.npz"] = answers.whole(CONTENT, Content_Length=None)
    assert get(server, "/a.npz", target, size=None) == CONTENT
    with pytest.raises(ValueError, match="neither size nor hash is known"):
        get(server, "/a.npz", target, size=None, anchored=False)


def test_an_unknown_size_is_bounded(server, target):
    limits = dataclasses.replace(FAST, max_bytes=1000)
    server.answers["/a.npz"] = CONTENT
    with pytest.raises(ValueError, match="at most 1000 are taken"):
        get(server, "/a.npz", target, size=None, limits=limits)
    server.answers["/b.npz"] = answers.whole(CONTENT, Content_Length=None)
    with pytest.raises(ValueError, match="sends more than the 1000 bytes"):
        get(server, "/b.npz", target, size=None, limits=limits)
    assert target.stat().st_size == 0


def test_a_link_in_place_of_the_file_is_not_followed(server, target, tmp_path):
    (tmp_path / "precious").write_bytes(b"years of work")
    target.symlink_to(tmp_path / "precious")
    server.answers["/a.npz"] = CONTENT
    with pytest.raises(OSError, match="symbolic link"):
        get(server, "/a.npz", target)
    assert (tmp_path / "precious").read_bytes() == b"years of work"


@pytest.mark.parametrize("address", ["http://example.org/a", "file:///etc/passwd", "/etc/passwd"])
def test_nothing_is_requested_from_an_insecure_address(address, target):
    with pytest.raises((ValueError, OSError)):
        http.Download(address, target, limits=FAST, progress=False).run()
    assert not target.exists() or target.stat().st_size == 0

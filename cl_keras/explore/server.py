"""Serves the page of a collection to this machine only.

The addresses are fixed, and none is a path on the disk: images are requested by number. Every
request must carry the token in the address of the page, and name this machine as its host, which
keeps out other users of the machine and pages of other origins.
"""

import hmac
import http
import http.server
import json
import secrets
import urllib.parse

from cl_keras.explore.collection import Collection
from cl_keras.explore.page import page

HOST = "127.0.0.1"
MAX_UPLOAD = 32 * 2**20  # bytes of a query image

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self' data:; connect-src 'self'; style-src 'unsafe-inline'; "
        "script-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def make_server(
    collection: Collection, *, port: int = 0, title: str = "Explore"
) -> tuple[http.server.ThreadingHTTPServer, str]:
    """A server on the loopback interface.

    Args:
        collection: `Collection`.
        port: its port; default: 0, a free one.
        title: heading of the page; default: "Explore".

    Returns:
        (server, address): an `http.server.ThreadingHTTPServer`, not yet started, and the address
        of its page with the token. Start it with `server.serve_forever()`.
    """
    token = secrets.token_urlsafe(16)
    served = {"collection": collection, "token": token, "title": title}
    handler = type("Handler", (_Handler,), served)
    server = http.server.ThreadingHTTPServer((HOST, port), handler)
    server.daemon_threads = True
    return server, f"http://{HOST}:{server.server_port}/?token={token}"


class _Handler(http.server.BaseHTTPRequestHandler):
    collection, token, title = None, "", ""
    timeout = 30  # seconds without data after which a connection is closed

    def do_GET(self):
        self._answer(
            {
                "/": self._page,
                "/points": lambda query: self.collection.points(),
                "/picture": lambda query: self.collection.picture(_number(query, "row")),
                "/near": lambda query: self.collection.near(_number(query, "row")),
                "/outliers": lambda query: self.collection.outliers,
                "/pairs": lambda query: self.collection.pairs,
                "/select": lambda query: self.collection.to_label(_number(query, "n")),
            }
        )

    def do_POST(self):
        self._answer({"/near_file": lambda query: self.collection.near_file(self._body())})

    def log_message(self, format, *args):
        pass  # the terminal is for the command's own output

    def _answer(self, actions):
        address = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(address.query))
        if not self._is_allowed(query):
            return self._send(
                http.HTTPStatus.FORBIDDEN, "Open the address that the command printed."
            )
        action = actions.get(address.path)
        if action is None:
            return self._send(http.HTTPStatus.NOT_FOUND, "Unknown address.")
        try:
            return self._send(http.HTTPStatus.OK, action(query))
        except (ValueError, IndexError, OSError) as error:
            return self._send(http.HTTPStatus.BAD_REQUEST, str(error))

    def _is_allowed(self, query):
        host = self.headers.get("Host", "")
        known = {f"{name}:{self.server.server_port}" for name in (HOST, "localhost")}
        given = query.get("token", "").encode("utf-8", "replace")
        return host in known and hmac.compare_digest(given, self.token.encode())

    def _page(self, query):
        self._nonce = secrets.token_urlsafe(16)
        return page(self.title, len(self.collection), self._nonce)

    _nonce = "none"

    def _body(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or not 0 < int(length) <= MAX_UPLOAD:
            self.close_connection = True
            raise ValueError(f"Expected an image file of at most {MAX_UPLOAD >> 20} MiB.")
        return self.rfile.read(int(length))

    def _send(self, status, content):
        if isinstance(content, bytes):
            body, kind = content, "image/png"
        elif isinstance(content, str):
            is_page = status == http.HTTPStatus.OK
            body, kind = content.encode(), f"text/{'html' if is_page else 'plain'}; charset=utf-8"
        else:
            body, kind = json.dumps(content).encode(), "application/json"
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value.replace("{nonce}", self._nonce))
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _number(query, name):
    text = query.get(name, "")
    if not text.isdecimal() or len(text) > 9:
        raise ValueError(f"{name} must be a whole number; received {text[:20]!r}.")
    return int(text)

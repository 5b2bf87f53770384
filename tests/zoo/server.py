"""A local web server that answers as each test says, and records its requests."""

import contextlib
import http.server
import threading
import time


class Server:
    """Uses https with an `ssl.SSLContext`, otherwise http.

    `answers[path]` is bytes, or a function `(handler, number)` that answers the n-th request.
    """

    def __init__(self, tls=None):
        self.answers, self.requests = {}, []
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                owner.requests.append((self.path, dict(self.headers)))
                answer = owner.answers.get(self.path.partition("?")[0])
                number = owner.count(self.path)
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    if answer is None:
                        status(404)(self, number)
                    elif callable(answer):
                        answer(self, number)
                    else:
                        file(answer)(self, number)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05])
        self._thread.start()
        port = self._server.server_address[1]
        self.address = f"http://127.0.0.1:{port}" if tls is None else f"https://localhost:{port}"

    def count(self, path):
        """How often a path was asked for."""
        return sum(asked == path for asked, _ in self.requests)

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def send(handler, code, body=b"", **headers):
    """Sends a complete answer, with the given `Content_Length` and other headers."""
    handler.send_response(code)
    for name, value in ({"Content_Length": len(body)} | headers).items():
        if value is not None:
            handler.send_header(name.replace("_", "-"), str(value))
    if headers.get("Content_Length", 0) is None:
        handler.send_header("Connection", "close")
        handler.close_connection = True
    handler.end_headers()
    handler.wfile.write(body)


def file(content, **headers):
    """Answers with a file, or the requested range of it."""

    def answer(handler, _):
        start = _start(handler)
        if start >= len(content):
            send(handler, 416)
        elif start:
            where = f"bytes {start}-{len(content) - 1}/{len(content)}"
            send(handler, 206, content[start:], Content_Range=where, **headers)
        else:
            send(handler, 200, content, **headers)

    return answer


def whole(content, **headers):
    """Answers with the whole file, even if a range was requested."""
    return lambda handler, _: send(handler, 200, content, **headers)


def status(code, body=b"", **headers):
    return lambda handler, _: send(handler, code, body, **headers)


def redirect(address, code=302):
    return status(code, Location=address)


def dropping(content, at, times=1, **headers):
    """Closes the connection at a position in the file, a number of times; then as `file`."""

    def answer(handler, number):
        if number > times:
            return file(content, **headers)(handler, number)
        start = _start(handler)
        handler.close_connection = True
        where = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        part = {"Content_Length": len(content) - start, **(where if start else {}), **headers}
        send(handler, 206 if start else 200, content[start:at], **part)

    return answer


def slow(content, pieces, seconds):
    """Answers with the file in a number of pieces, with a pause after each."""

    def answer(handler, _):
        size = max(1, len(content) // pieces)
        send(handler, 200, Content_Length=len(content))
        for start in range(0, len(content), size):
            handler.wfile.write(content[start : start + size])
            handler.wfile.flush()
            time.sleep(seconds)

    return answer


def slow_headers(seconds, times):
    """Answers with a header, character by character, with a pause after each."""

    def answer(handler, _):
        handler.close_connection = True
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        for _ in range(times):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(seconds)

    return answer


def then(*answers):
    """Uses the answers one after another, and repeats the last one."""
    return lambda handler, number: answers[min(number, len(answers)) - 1](handler, number)


def _start(handler):
    asked = handler.headers.get("Range", "bytes=0-")
    return int(asked.removeprefix("bytes=").rstrip("-"))

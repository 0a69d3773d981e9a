"""An HTTP server on 127.0.0.1 that misbehaves as it is told, request by request."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """Answers each path with its `answers` in turn, the last one again and again; logs who asked.

    Use as a context manager.
    """

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.ended = threading.Event()  # stalled answers wait for it
        server, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with lock:
                    server.asked.append((self.path, dict(self.headers)))
                    answers = server.answers.get(self.path, [status(404)])
                    answer = answers.pop(0) if len(answers) > 1 else answers[0]
                self.close_connection = True
                answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]

    def __enter__(self) -> "Server":
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.ended.set()
        self._http.shutdown()
        self._http.server_close()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def serve(self, path: str, *answers: Answer) -> str:
        """Set a path's answers; returns its address."""
        self.answers[path] = list(answers)
        return self.url(path)

    def headers(self, name: str) -> list[str | None]:
        """A header of each request so far."""
        return [headers.get(name) for _, headers in self.asked]

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def stalled(self, data: bytes, sent: int, etag: str | None = None) -> Answer:
        """Part of a file, and then nothing until the client gives up."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            _head(handler, 200, len(data), {"ETag": etag} if etag else {})
            handler.wfile.write(data[:sent])
            handler.wfile.flush()
            self.ended.wait(5)

        return answer


def status(code: int, headers: dict[str, str] | None = None) -> Answer:
    """An error page."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        _head(handler, code, 5, headers or {})
        handler.wfile.write(b"sorry")

    return answer


def redirect(to: str, headers: dict[str, str] | None = None) -> Answer:
    return status(302, {"Location": to, **(headers or {})})


def file(
    data: bytes,
    *,
    etag: str | None = '"1"',
    ranges: bool = True,
    if_range: bool = True,
    length: int | None = None,
    drop: int | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """A file, whole or from where Range begins.

    `ranges` False: Range is ignored; `if_range` False: If-Range is. `length` is what is said of the
    body, whatever is sent; `drop`: the connection is cut after so many bytes of it.
    """

    def answer(handler: BaseHTTPRequestHandler) -> None:
        said = dict(headers or {})
        if etag:
            said["ETag"] = etag
        body, code = data, 200
        begin = handler.headers.get("Range", "")
        same = not if_range or handler.headers.get("If-Range") == etag
        if ranges and begin and same:
            at = int(begin.removeprefix("bytes=").removesuffix("-"))
            body, code = data[at:], 206
            said["Content-Range"] = f"bytes {at}-{len(data) - 1}/{len(data)}"
        _head(handler, code, len(body) if length is None else length, said)
        handler.wfile.write(body[:drop])

    return answer


def chunked(data: bytes, *, ended: bool = True) -> Answer:
    """A file of untold length; with `ended` False the connection is cut before its end is said."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) + (b"0\r\n\r\n" if ended else b""))

    return answer


def _head(handler: BaseHTTPRequestHandler, code: int, length: int, headers: dict[str, str]) -> None:
    handler.send_response(code)
    for name, value in {**headers, "Content-Length": str(length), "Connection": "close"}.items():
        handler.send_header(name, value)
    handler.end_headers()

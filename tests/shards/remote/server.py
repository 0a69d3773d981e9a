"""An S3 server on 127.0.0.1, SeaweedFS, and a proxy before it that misbehaves as it is told."""

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import pytest

# Who may do what. A stranger has a key, and no right to anything of ours.
KEYS = {
    "writer": "secret-of-writer",
    "reader": "secret-of-reader",
    "stranger": "secret-of-stranger",
}
_RIGHTS = {"writer": ["Admin"], "reader": ["Read", "List"], "stranger": ["Read:elsewhere"]}
_PORTS = ("master", "volume", "filer", "s3")
_REQUEST = re.compile(rb"^(GET|HEAD|PUT) (\S+) HTTP/1\.1\r\n")
_BUSY = (
    b"<?xml version='1.0' encoding='UTF-8'?>\n"
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)


class S3Server(NamedTuple):
    """`port` speaks S3; `filer` plain HTTP, of the same files under /buckets."""

    port: int
    filer: int

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def program() -> str | None:
    """SeaweedFS, which the extra `dev` brings where there is a package of it."""
    return shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """A server that keeps all it has in `folder`, until the block ends."""
    weed = program()
    assert weed, "SeaweedFS is not installed"
    identities = [
        {
            "name": name,
            "credentials": [{"accessKey": name, "secretKey": secret}],
            "actions": _RIGHTS[name],
        }
        for name, secret in KEYS.items()
    ]
    (folder / "s3.json").write_bytes(msgspec.json.encode({"identities": identities}))
    ports = _free_ports(2 * len(_PORTS))
    first, second = ports[: len(_PORTS)], ports[len(_PORTS) :]
    command = [weed, "-logtostderr", "server", f"-dir={folder}", "-filer", "-s3", "-iam=false"]
    command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3.ip.bind=127.0.0.1"]
    command += ["-master.telemetry=false", "-master.peers=none", "-master.volumeSizeLimitMB=64"]
    command += [f"-s3.config={folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    for name, port, grpc in zip(_PORTS, first, second, strict=True):
        command += [f"-{name}.port={port}", f"-{name}.port.grpc={grpc}"]
    server = S3Server(port=first[3], filer=first[2])
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        _wait_for(server, process, folder / "log")
        yield server
    finally:
        process.kill()
        process.wait()
        for port in ports:
            for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # it names them so itself
                path.unlink(missing_ok=True)


def _wait_for(server: S3Server, process: subprocess.Popen, log: Path) -> None:
    ends = time.monotonic() + 30
    while time.monotonic() < ends and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"{server.endpoint}/healthz", timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError(f"SeaweedFS did not start:\n{log.read_text()[-2000:]}")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Fault(NamedTuple):
    """What happens to a connection once `after` bytes of answers went through it.

    drop: it is cut. stall: nothing comes any more. flip: one byte comes wrong. busy: the first
    request is answered by 503. cut: the first answer has half its body, and says that this is all.
    `rate`, in bytes a second, is how fast answers go through; 0: as fast as they come.
    """

    how: Literal["none", "drop", "stall", "flip", "busy", "cut"] = "none"
    after: int = 0
    rate: int = 0


class Proxy:
    """A TCP proxy to a port of this host. Each connection takes the next of `faults`, the one that
    is `always` when there are none. Use as a context manager."""

    def __init__(self, to: int) -> None:
        self.faults: list[Fault] = []
        self.always = Fault()
        self.requests: list[str] = []  # "GET /bucket/name", as they came
        self.sent = 0  # bytes of answers that were let through
        self._to = to
        self._ended = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def count(self, request: str) -> int:
        """How many requests end with these words."""
        return sum(one.endswith(request) for one in self.requests)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            fault = self.faults.pop(0) if self.faults else self.always
            try:
                server = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                client.close()
                continue
            for target, *args in (
                (self._up, client, server, fault),
                (self._down, client, server, fault),
            ):
                threading.Thread(target=target, args=args, daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket, fault: Fault) -> None:
        """Requests, as they come."""
        with suppress(OSError):
            while data := client.recv(65536):
                if found := _REQUEST.match(data):
                    self.requests.append(" ".join(part.decode() for part in found.groups()))
                if fault.how == "busy":
                    head = f"HTTP/1.1 503 Slow Down\r\nContent-Length: {len(_BUSY)}\r\n"
                    client.sendall(f"{head}Connection: close\r\n\r\n".encode() + _BUSY)
                    break
                server.sendall(data)
        _close(client, server)

    def _down(self, client: socket.socket, server: socket.socket, fault: Fault) -> None:
        """Answers, as the fault has them."""
        passed = 0
        with suppress(OSError):
            while data := server.recv(
                min(65536, max(fault.rate // 20, 1) if fault.rate else 65536)
            ):
                if fault.how == "cut":
                    data, fault = _halved(data), Fault()
                left = fault.after - passed
                if fault.how in ("drop", "stall") and len(data) > left:
                    client.sendall(data[: max(left, 0)])
                    self.sent += max(left, 0)
                    if fault.how == "stall":
                        self._ended.wait(20)
                    break
                if fault.how == "flip" and 0 <= left < len(data):
                    data = data[:left] + bytes([data[left] ^ 1]) + data[left + 1 :]
                client.sendall(data)
                passed += len(data)
                self.sent += len(data)
                if fault.rate:
                    time.sleep(len(data) / fault.rate)
        _close(client, server)


def _halved(answer: bytes) -> bytes:
    """An answer whose body is half as long, and said to be."""
    head, body = answer.split(b"\r\n\r\n", 1)
    body = body[: len(body) // 2]
    length = b"Content-Length: %d" % len(body)
    return re.sub(rb"(?i)content-length: \d+", length, head) + b"\r\n\r\n" + body


def _close(*sockets: socket.socket) -> None:
    for one in sockets:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


def as_user(monkeypatch: pytest.MonkeyPatch, name: str, secret: str | None = None) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", name)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret or KEYS[name])
    hang_up()


def hang_up() -> None:
    """Close all connections, so that the next request is the first of a new one."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()

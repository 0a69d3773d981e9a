"""Files at a URL, read range by range; a try that fails is made again.

    origin = Origin("s3://bucket/shards")
    for data in origin.ranges("coco/coco-train-00000-01234567.tar", nbytes, beat): ...

Any URL that fsspec knows will do. A connection that drops or stalls costs one range: ranges shrink
with each try that fails and grow while they come fast.
"""

import random
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

TRIES = 6  # of each range
PAUSE = 0.5  # seconds before the second try; twice as long before each one after it
STALL = 10.0  # seconds without a byte that end a try, where the file system lets us say so
DEADLINE = 15.0  # seconds that a range may take, however slowly it comes
SMALLEST, LARGEST = 256 * 1024, 16 * 1024 * 1024  # bytes of a range
_FAST, _SLOW = 1.0, 5.0  # seconds for a range: below, the next is larger; above, smaller
_JITTER = random.SystemRandom()  # the trainer's own random numbers stay what they are
_LOOK = {"s3": "aws s3 ls", "gs": "gcloud storage ls", "http": "curl -I", "https": "curl -I"}
_CHECK = {
    "s3": "the bucket's name and policy, AWS_PROFILE (or AWS_ACCESS_KEY_ID with "
    "AWS_SECRET_ACCESS_KEY) and AWS_ENDPOINT_URL; for a public bucket, export FSSPEC_S3_ANON=true. "
    "S3 says the same of what is not there, to those who may not list",
}
_Answer = TypeVar("_Answer")
_Ask = Callable[["AbstractFileSystem", str], _Answer]


class RemoteError(OSError):
    """A file at a URL cannot be fetched; the text says which, why, and what to do."""


class AbsentError(RemoteError):
    """A file is not there, or may not be read: no other try was made."""


class Origin:
    """What lies under `url`. Its methods raise RemoteError, and call `beat` before a new try.

    Holds no connection, so it may be pickled, forked and used by threads.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._protocol = url.partition("://")[0]
        self._range = 2 * 1024 * 1024  # bytes to ask for next
        self.shown = re.sub(r"://[^/@]*@", "://", self._url)  # printed without a password

    def whole(self, name: str, beat: Callable[[], None]) -> bytes:
        """All bytes of a file whose size is not known, at once."""
        return self._tried(name, partial(_read, start=0), beat)  # 0, or s3fs asks for its size

    def size(self, name: str, beat: Callable[[], None]) -> int | None:
        """The bytes of a file; None if the server does not say."""
        return self._tried(name, lambda files, path: files.size(path), beat)

    def ranges(self, name: str, nbytes: int, beat: Callable[[], None]) -> Iterator[bytes]:
        """The `nbytes` of a file from front to back; `beat` is called with each range, too."""
        at = 0
        while at < nbytes:
            data = self._tried(name, partial(self._next, at, nbytes), beat)
            at += len(data)
            beat()
            yield data

    def _next(self, at: int, nbytes: int, files: "AbstractFileSystem", path: str) -> bytes:
        """Some bytes of a file of `nbytes` from byte `at` on; fewer after a try that failed."""
        asked, began = self._range, time.monotonic()
        size = min(asked, nbytes - at)
        self._range = max(size // 2, SMALLEST)
        data = _read(files, path, start=at, end=at + size)
        if len(data) == nbytes:  # what a server that knows no ranges sends
            data = data[at:]
        elif len(data) != size:
            raise OSError(f"{len(data):,} bytes came of {size:,} from byte {at:,} on")
        took = time.monotonic() - began
        if took < _SLOW:
            self._range = asked if took > _FAST else min(2 * asked, LARGEST)
        return data

    def _tried(self, name: str, ask: _Ask[_Answer], beat: Callable[[], None]) -> _Answer:
        """What `ask` gives, tried TRIES times."""
        files, root = self._open()
        error: Exception | None = None
        for tries in range(TRIES):
            if tries:
                ends = time.monotonic() + PAUSE * 2 ** (tries - 1) * _JITTER.uniform(0.5, 1.5)
                while (left := ends - time.monotonic()) > 0:
                    beat()
                    time.sleep(min(left, 1.0))
                beat()
            try:
                return ask(files, f"{root.rstrip('/')}/{name}")
            except FileNotFoundError as missing:
                raise AbsentError(
                    f"{self.shown}/{name} is not there. Look with: {self._look(name)}"
                ) from missing
            except Exception as failed:
                if _is_denied(failed):
                    check = _CHECK.get(self._protocol, "the address and the credentials for it")
                    raise AbsentError(
                        f"{self.shown}/{name} may not be read ({_said(failed)}). Check {check}. "
                        f"Look with: {self._look(name)}"
                    ) from failed
                error = failed
        raise RemoteError(
            f"{self.shown}/{name} could not be fetched in {TRIES} tries; the last one failed with: "
            f"{_said(error)}. Look with: {self._look(name)}; then run the same command again: what "
            f"has come is kept"
        ) from error

    def _open(self) -> tuple["AbstractFileSystem", str]:
        """The file system of the URL, which fsspec makes once a process; where we are in it."""
        try:
            from fsspec.core import url_to_fs

            files, root = url_to_fs(self._url, **_options(self._protocol))
        except ImportError as error:
            raise RemoteError(
                f"{self.shown} needs a package that is not installed: {error}. S3 and HTTP come "
                f"with: pip install 'embervlm[remote]'"
            ) from error
        except ValueError as error:
            raise RemoteError(f"{self.shown} is no URL that can be read: {error}") from error
        if self._protocol in ("s3", "s3a"):
            files.retries = 1  # s3fs would try again by itself, and tell nobody
        return files, root

    def _look(self, name: str) -> str:
        """A command that shows what is there."""
        here = f"python -c 'import fsspec; fsspec.open(\"{self.shown}/{name}\").open()'"
        command = _LOOK.get(self._protocol)
        return f"{command} {self.shown}/{name}" if command else here


def _options(protocol: str) -> dict[str, Any]:
    """What a file system is told: how long to wait, and not to try again by itself."""
    if protocol in ("s3", "s3a"):
        waits = {"connect_timeout": STALL, "read_timeout": STALL, "retries": {"max_attempts": 0}}
        return {"config_kwargs": waits, "use_listings_cache": False}
    if protocol in ("http", "https"):
        from aiohttp import ClientTimeout

        waits = ClientTimeout(total=None, sock_connect=STALL, sock_read=STALL)
        return {"client_kwargs": {"timeout": waits}}
    return {}


def _read(files: Any, path: str, **part: Any) -> bytes:
    """The bytes of a file, or of its `part` from start to end."""
    if files.async_impl:  # these take the time that a call may last
        part["timeout"] = DEADLINE
    return files.cat_file(path, **part)


def _is_denied(error: Exception) -> bool:
    """Whether a file system says that we may not read."""
    denied = isinstance(error, PermissionError) or getattr(error, "status", 0) in (401, 403)
    return denied or type(error).__name__ == "NoCredentialsError"  # botocore's, of no such class


def _said(error: Exception | None) -> str:
    return str(error) or type(error).__name__  # a time-out says nothing

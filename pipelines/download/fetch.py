"""One file over HTTP: resumed where it broke off, and named only once it is the right one.

NAME.part         what came so far
NAME.part.json    the address, what the server said of the file, and which version it was of
NAME              the whole file, its size and checksum checked
"""

import base64
import binascii
import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec

from manifests import store
from pipelines.download import web
from pipelines.download.web import Policy, TransientError, WebError

Progress = Callable[[int, int | None], None]  # bytes there so far, and of how many
_SHA256 = re.compile(r"[0-9a-f]{64}")


class FetchError(ValueError):
    """A file that could not be fetched; the message says why and what to do."""


class WrongFileError(WebError):
    """What came whole is not the file that was asked for."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A file on the web; what is not known of it (None) is taken from what the server says."""

    url: str
    nbytes: int | None = None
    md5: str | None = None
    sha256: str | None = None


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is on disk: its size and digest, and what the digest was `checked` against."""

    nbytes: int
    sha256: str
    checked: str


class _Remote(msgspec.Struct, frozen=True, kw_only=True):
    """What a server said of the file whose first bytes are in the part."""

    url: str
    etag: str | None
    modified: str | None
    nbytes: int | None
    md5: str | None
    sha256: str | None

    @property
    def version(self) -> str | None:
        """What tells If-Range that it is still the same file: a strong ETag, or its date."""
        strong = self.etag and not self.etag.startswith("W/")
        return self.etag if strong else self.modified


def fetch(source: Source, path: Path, policy: Policy, progress: Progress) -> Fetched:
    """Fetch a file to `path`, going on from an earlier attempt's part if the server can.

    `progress` is called with every piece; what it raises ends the attempt and leaves the part.
    Raises FetchError once it is hopeless, OSError if the disk will not have it.
    """
    part = _Part(path)
    failures = wrong = furthest = 0
    with web.client(policy) as client:
        while True:
            try:
                remote = _attempt(client, source, part, policy, progress)
                return _finish(source, remote, part)
            except WrongFileError as error:
                part.clear()
                wrong += 1
                if wrong == 2:
                    raise FetchError(f"{error}, twice; nothing of it was kept") from error
            except TransientError as error:
                if part.size > furthest:  # it moves: what is bounded is standing still
                    furthest, failures = part.size, 0
                failures += 1
                if failures >= policy.attempts:
                    raise FetchError(
                        f"{error}; tried {failures} times, {part.size:,} bytes are kept; run the "
                        f"same command again to go on"
                    ) from error
                policy.pause(failures, error.wait)
            except WebError as error:
                raise FetchError(str(error)) from error


class _Part:
    """The file beside `path` that grows, and what is known of it."""

    def __init__(self, path: Path) -> None:
        self.final = path
        self.path = path.with_name(f"{path.name}.part")
        self._note = path.with_name(f"{path.name}.part.json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def remote(self, url: str) -> _Remote | None:
        """What was said of the bytes that are there, if there are any and they can be used."""
        try:
            remote = msgspec.json.decode(self._note.read_bytes(), type=_Remote)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return remote if remote.url == url and remote.version and self.size else None

    def begin(self, remote: _Remote) -> None:
        """Start over, with a file of this description."""
        self.clear()
        store.write(self._note, msgspec.json.encode(remote))
        self.path.touch()

    def clear(self) -> None:
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def publish(self) -> None:
        store.publish(self.path, self.final)
        self._note.unlink(missing_ok=True)


def _attempt(
    client: httpx.Client, source: Source, part: _Part, policy: Policy, progress: Progress
) -> _Remote:
    """Ask once, for all or for the rest; returns when the part is whole, as far as is known."""
    known = part.remote(source.url)
    progress(part.size if known else 0, known.nbytes if known else source.nbytes)
    if known and known.nbytes == part.size:
        return known
    headers = {"Range": f"bytes={part.size}-", "If-Range": str(known.version)} if known else {}
    with web.get(client, source.url, policy, headers) as response:
        if known and response.status_code == httpx.codes.PARTIAL_CONTENT:
            remote = _going_on(known, part, response)
        elif response.status_code == httpx.codes.OK:
            remote = _described(source.url, response)
            _check_size(source, remote.nbytes)
            part.begin(remote)
        else:
            part.clear()
            raise TransientError(f"{source.url} answered {response.status_code}; starting over")
        if coded := response.headers.get("Content-Encoding"):
            raise WebError(f"{source.url} is sent with Content-Encoding {coded}, not as it is")
        _check_space(part, remote)
        at = part.size
        with part.path.open("ab") as file:
            for piece in response.iter_raw():
                file.write(piece)
                at += len(piece)
                progress(at, remote.nbytes)
    if remote.nbytes is not None and at < remote.nbytes:
        raise TransientError(f"{source.url} ended at {at:,} of {remote.nbytes:,} bytes")
    return remote


def _going_on(known: _Remote, part: _Part, response: httpx.Response) -> _Remote:
    """`known` if a 206 is the rest of that same file. Raises TransientError, the part gone, if not.

    If-Range asks for this; a server that does not honour it would splice two files.
    """
    content_range = response.headers.get("Content-Range", "")
    total = "*" if known.nbytes is None else known.nbytes
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range)
    here = match and int(match[1]) == part.size and match[2] in (str(total), "*")
    for name, value in (("ETag", known.etag), ("Last-Modified", known.modified)):
        here = here and response.headers.get(name, value) == value
    if not here:
        part.clear()
        raise TransientError(
            f"{known.url} went on with another file ({content_range!r}); starting over"
        )
    return known


def _described(url: str, response: httpx.Response) -> _Remote:
    """What the headers of a whole answer say; Hugging Face says it where it redirects."""
    headers = response.headers
    linked = [hop.headers for hop in response.history if "X-Linked-Size" in hop.headers]
    etag = linked[0].get("X-Linked-ETag", "").strip('"') if linked else ""
    nbytes = linked[0]["X-Linked-Size"] if linked else headers.get("Content-Length", "")
    google = dict(
        item.strip().partition("=")[::2] for item in headers.get("x-goog-hash", "").split(",")
    )
    return _Remote(
        url=url,
        etag=headers.get("ETag"),
        modified=headers.get("Last-Modified"),
        nbytes=int(nbytes) if nbytes.isdecimal() else None,
        md5=_hex(google.get("md5") or headers.get("Content-MD5")),
        sha256=etag if _SHA256.fullmatch(etag) else None,
    )


def _hex(encoded: str | None) -> str | None:
    """A base64 MD5 in hex; None for what is none."""
    try:
        digest = base64.b64decode(encoded or "", validate=True)
    except binascii.Error:
        return None
    return digest.hex() if len(digest) == 16 else None


def _check_size(source: Source, nbytes: int | None) -> None:
    if None not in (source.nbytes, nbytes) and source.nbytes != nbytes:
        raise WrongFileError(f"{source.url} is {nbytes:,} bytes, expected {source.nbytes:,}")


def _check_space(part: _Part, remote: _Remote) -> None:
    free = shutil.disk_usage(part.path.parent).free
    if remote.nbytes is not None and remote.nbytes - part.size > free:
        raise WebError(
            f"{part.final} needs {remote.nbytes - part.size:,} bytes more and {free:,} are free "
            f"there; make room, or choose another --root"
        )


def _finish(source: Source, remote: _Remote, part: _Part) -> Fetched:
    """Check the whole part and give it its name. Raises WrongFileError with expected and got."""
    known = msgspec.structs.replace(
        source,
        nbytes=source.nbytes or remote.nbytes,
        md5=source.md5 or remote.md5,
        sha256=source.sha256 or remote.sha256,
    )
    found = verify(known, part.path)
    part.publish()
    return found


def verify(source: Source, path: Path) -> Fetched:
    """What a file is, if it is all that is known of it. Raises WrongFileError if it is not."""
    _check_size(source, path.stat().st_size)
    found = {"sha256": _digest(path, "sha256"), "md5": source.md5 and _digest(path, "md5")}
    checked = [name for name in found if getattr(source, name)]
    for name in checked:
        if found[name] != (expected := getattr(source, name)):
            raise WrongFileError(f"{source.url} has {name} {found[name]}, expected {expected}")
    return Fetched(
        nbytes=path.stat().st_size,
        sha256=str(found["sha256"]),
        checked=" and ".join(checked) or ("size" if source.nbytes else "nothing"),
    )


def _digest(path: Path, name: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, name).hexdigest()

"""A data set at a URL, in a local folder, file by file as it is needed.

    mirror = Mirror("s3://bucket/shards", cache, limit=200 * 10**9)
    mirror.fetch([(shard.manifest, shard.manifest_nbytes, shard.manifest_sha256), ...])
    number = mirror.hold(shard)     # a descriptor of its tar, which stays until it is closed

What comes (`shards.origin`) is compared with the seal's sha256 before it gets its name; the tars
are kept as long as there is room for them (`shards.cache`).
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from manifests import disk, store
from manifests.seal import NAME, Seal, SealError, Shard
from shards.cache import Cache
from shards.origin import AbsentError, Origin
from shards.rows import DamageError

_THREADS = 8  # that fetch small files


def _quiet() -> None:
    pass


class Mirror:
    """The data set at `url`, as it is sealed there now, mirrored in `folder`.

    `limit` is in bytes, of the tars of all data sets in `cache`. A mirror may be used by threads,
    and pickled: in another process it goes on with the same seal, and asks nobody for it. Raises
    RemoteError, and SealError if the seal there is none. All errors of fetching and keeping are
    OSErrors.
    """

    def __init__(self, url: str, cache: Path, limit: int) -> None:
        self._origin, self._cache = Origin(url), Cache(cache, limit)
        self.shown = self._origin.shown  # the URL, without a password
        try:
            data = self._origin.whole(NAME, _quiet)
        except AbsentError as error:
            raise AbsentError(
                f"{self._origin.shown} is no data set that we can see: {error}"
            ) from error
        with self._cache.scratch() as scratch:
            store.write(scratch / NAME, data)
            try:
                root = Seal.read(scratch).root
            except SealError as error:
                raise SealError(str(error).replace(str(scratch), self._origin.shown)) from None
            self.folder = cache / root[:16]
            disk.make_folder(self.folder)
            sealed = self.folder / NAME
            if not (sealed.is_file() and sealed.read_bytes() == data):
                store.publish(scratch / NAME, sealed)

    def fetch(
        self,
        files: Sequence[tuple[str, int, str]],
        progress: Callable[[int], None] = lambda nbytes: None,
    ) -> None:
        """Fetch those small files (name, nbytes, sha256) that are not in the folder yet.

        They are never removed, nor counted in the limit. `progress` is told the bytes of each file
        as soon as it is there. Raises RemoteError, DamageError.
        """
        with self._cache.scratch() as scratch, ThreadPoolExecutor(_THREADS) as pool:
            for nbytes in pool.map(lambda file: self._fetch(scratch, *file), files):
                progress(nbytes)

    def fetch_optional(self, folder: str, files: Sequence[str]) -> bool:
        """Fetch a folder of files derived from the data set, all or none, unless it is here.

        False if one of them is not there, or may not be read: they can be made anew. Nothing says
        what is right of them but what they say of themselves. Raises RemoteError.
        """
        final = self.folder / folder
        alone = self._cache.alone(hashlib.sha256(str(final).encode()).hexdigest(), _quiet)
        with alone, self._cache.scratch() as scratch:
            if final.exists():
                return True
            try:
                for name in files:
                    self._derived(f"{folder}/{name}", scratch / name)
            except AbsentError:
                return False
            disk.make_folder(final.parent)
            try:
                store.publish(scratch, final)
            except OSError:
                if not final.exists():  # else somebody has made it meanwhile
                    raise
        return True

    def hold(self, shard: Shard, beat: Callable[[], None] = _quiet) -> int:
        """A read-only descriptor of a shard's tar, which is fetched first if it is not here.

        While it is open, no process of this host removes the file. `beat` is called with each range
        that comes, each new try, and while we wait for others: if all goes well, at least every
        `origin.DEADLINE` seconds. Raises RemoteError, CacheError (no room), DamageError.
        """
        path = self.folder / shard.tar
        number = self._cache.open(path, shard.nbytes)
        if number is not None:
            return number
        with self._cache.alone(shard.sha256, beat):
            number = self._cache.open(path, shard.nbytes)  # another may have fetched it meanwhile
            if number is not None:
                return number
            with self._cache.new_tar(shard.nbytes, beat) as file:
                self._verified(shard.tar, shard.nbytes, shard.sha256, file, beat)
                return self._cache.keep(file, path)

    def _fetch(self, scratch: Path, name: str, nbytes: int, sha256: str) -> int:
        """Fetch a small file by way of `scratch`, if it is not in the folder; its bytes."""
        path = self.folder / name
        if not _is_there(path, nbytes):
            with self._cache.alone(sha256, _quiet):
                if not _is_there(path, nbytes):
                    disk.make_folder(path.parent)
                    with store.new_file(scratch) as file:
                        self._verified(name, nbytes, sha256, file, _quiet)
                        file.publish(path)
        return nbytes

    def _derived(self, name: str, path: Path) -> None:
        """Fetch a file whose size and digest no seal tells."""
        nbytes = self._origin.size(name, _quiet)
        with store.new_file(path.parent) as file:
            if nbytes is None:
                file.write(self._origin.whole(name, _quiet))
            else:
                for data in self._origin.ranges(name, nbytes, _quiet):
                    file.write(data)
            file.publish(path)

    def _verified(
        self, name: str, nbytes: int, sha256: str, file: store.NewFile, beat: Callable[[], None]
    ) -> None:
        """Write the bytes of `name` to `file`. Raises DamageError if they are wrong twice."""
        got = ""
        for _ in range(2):
            digest = hashlib.sha256()
            os.lseek(file.descriptor, 0, os.SEEK_SET)
            try:
                for data in self._origin.ranges(name, nbytes, beat):
                    file.write(data)
                    digest.update(data)
            except AbsentError as error:
                raise AbsentError(
                    f"{error}. The seal lists it; has a newer data set replaced this one, run the "
                    f"same command again, to read that"
                ) from error
            got = digest.hexdigest()
            if got == sha256:
                return
        raise DamageError(
            f"{self._origin.shown}/{name} is damaged: fetched twice, the sha256 of its {nbytes:,} "
            f"bytes is {got}; the seal says {sha256}. Copy the file there again"
        )


def _is_there(path: Path, nbytes: int) -> bool:
    return path.is_file() and path.stat().st_size == nbytes

"""Where the files of a data set are: in a local folder, or at a URL and mirrored in one.

What a reader asks of either: an open tar, manifests in the folder, derived files if somebody made
them, and what to tell of a tar that is damaged.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from manifests import disk
from manifests.seal import Seal, SealError, Shard
from shards.rows import DamageError

if TYPE_CHECKING:
    from shards.remote import Mirror

Beat = Callable[[], None]


class Files(Protocol):
    """The files of a data set, in `folder` or on their way there. `most` tars may be open for each
    source, unless somebody says which (shards.tars). `where` is what a user calls it. All may raise
    DamageError or OSError."""

    folder: Path
    where: str
    most: int
    remote: bool

    def open_tar(self, shard: Shard, beat: Beat) -> int:
        """A read-only descriptor; `beat` is called now and then while it takes long."""
        ...

    def need_manifests(self, shards: Sequence[Shard], beat: Beat) -> None:
        """Return when the manifests of these shards are in the folder."""
        ...

    def has(self, folder: Path, files: Sequence[str], whole: Callable[[Path], bool]) -> bool:
        """Whether a folder of derived files is there; fetched, if it was made elsewhere and is
        `whole`."""
        ...

    def blame(self, shard: Shard) -> str:
        """What to do about a tar whose bytes are not those that were sealed."""
        ...


class LocalFiles:
    """A data set in a local folder."""

    most, remote = 256, False

    def __init__(self, folder: Path) -> None:
        self.folder, self.where = folder, str(folder)

    def open_tar(self, shard: Shard, beat: Beat) -> int:
        try:
            return os.open(self.folder / shard.tar, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            with contextlib.suppress(SealError):
                if all(one.tar != shard.tar for one in Seal.read(self.folder).shards):
                    raise DamageError(
                        f"{shard.tar} is gone: {self.folder} was replaced by a newer data set "
                        f"after this one was opened. Run the same command again, to read the newer "
                        f"one"
                    ) from error
            raise DamageError(
                f"{shard.tar} is sealed but cannot be opened ({error.strerror}). "
                f"Check with: python -m shards validate {self.folder}"
            ) from error

    def need_manifests(self, shards: Sequence[Shard], beat: Beat) -> None:
        pass

    def has(self, folder: Path, files: Sequence[str], whole: Callable[[Path], bool]) -> bool:
        return folder.exists()

    def blame(self, shard: Shard) -> str:
        return f"Repair it with: python -m shards repair {self.folder}"


class MirroredFiles:
    """A data set at a URL: tars come when they are opened, and stay as long as they are open."""

    most, remote = 2, True

    def __init__(self, mirror: "Mirror") -> None:
        self._mirror, self.folder, self.where = mirror, mirror.folder, mirror.shown

    def open_tar(self, shard: Shard, beat: Beat) -> int:
        return self._mirror.hold(shard, beat)

    def need_manifests(self, shards: Sequence[Shard], beat: Beat) -> None:
        wanted = [(s.manifest, s.manifest_nbytes, s.manifest_sha256) for s in shards]
        self._mirror.fetch(wanted, lambda nbytes: beat())

    def has(self, folder: Path, files: Sequence[str], whole: Callable[[Path], bool]) -> bool:
        if folder.exists():
            return True
        name = folder.relative_to(self.folder).as_posix()
        if not self._mirror.fetch_optional(name, files):
            return False
        if not whole(folder):  # damaged where it comes from: made anew here
            disk.remove_folder(folder)
        return folder.exists()

    def blame(self, shard: Shard) -> str:
        disk.remove(self.folder / shard.tar)
        return (
            "It was fetched whole and damaged on this machine's disk; it is removed, and fetched "
            "anew when the same command runs again"
        )

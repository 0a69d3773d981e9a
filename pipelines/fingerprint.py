"""Pictures that look alike, whatever their ids: the optional node before the gate.

About half of GQA's pictures are COCO's, scaled and encoded again; no id says so, their pixels do. A
fingerprint is imagehash's phash of 12x12 = 144 bits. Most bits of difference on 47 photographs:

    the same: JPEG q50-95, 0.4-2x, 800x533, grey, PNG, EXIF-turned 8; cropped by 1/2/3 % 14/22/36
    another: at least 52 in 1,081 pairs, mirrored 62; of 3,000 drawn pictures' 4.5 M pairs one at 20

Few shapes on a plain ground look alike when they are not: such pictures have no fingerprint (98.5 %
of the drawn ones, no photograph).
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from functools import lru_cache, partial
from hashlib import sha256
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Protocol

import imagehash
import numpy as np
import PIL
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import simplejpeg
from PIL import Image
from xxhash import xxh3_128_digest

from manifests import store
from pipelines.engine import helpers
from pipelines.locators import Images
from shards import jpeg
from shards.images import ImageError, ImagePolicy, store_image

SCHEMA = pa.schema([("group", pa.string()), ("hash", pa.binary(18))])  # null: no fingerprint
NEAR = pa.schema([("group", pa.string()), ("near_group", pa.string()), ("distance", pa.int32())])
ALIKE = 26  # of 144 bits: the same picture, even if its edges were cut
EQUAL = 8  # the same picture encoded or scaled again

_SIDE = 12  # of the hash; its picture is four times that
_DETAIL = 4.9  # bits of entropy of the greys of 16x16 pixels; photographs had 5.0 or more
_BANDS, _WORDS = 9, 3  # a hash as 16-bit numbers to look up, and as 64-bit ones to compare
_CHUNK = 4096  # images hashed between two writes to the cache
_PAIRS = 1 << 21  # candidates compared at a time
_ENTRIES = 1 << 23  # of a lookup table at a time
_ROWS = 1 << 19  # compared with the protected ones at a time
_SHIFT, _NONE = 40, np.iinfo(np.int64).max
_FEW = 64  # images hashed without a helper process
_RULE = ("phash12", imagehash.__version__, PIL.__version__, simplejpeg.__version__)
_CACHE = pa.schema([("image", pa.binary(16)), ("hash", pa.binary(18))])


class Each(Protocol):
    """Runs a function on every spec, as the build runs its nodes (`pipelines.engine.Engine`)."""

    def __call__(
        self,
        function: Callable[[pa.Table], None],
        specs: Sequence[pa.Table],
        labels: Sequence[str],
    ) -> object: ...


def fingerprint(data: bytes) -> bytes | None:
    """The 144 bits of an image file, None for a picture too plain. Raises ImageError if broken."""
    side = 4 * _SIDE
    small = _grey(data, 2 * side).resize((side, side), Image.Resampling.LANCZOS)
    if small.reduce(3).entropy() < _DETAIL:
        return None
    return np.packbits(imagehash.phash(small, _SIDE).hash).tobytes()


def _grey(data: bytes, at_least: int) -> Image.Image:
    """The upright picture as greys; a JPEG is decoded no larger than it must be."""
    try:
        if jpeg.header(data).orientation == 1:
            grey = simplejpeg.decode_jpeg(data, "GRAY", min_height=at_least, min_width=at_least)
            return Image.fromarray(grey[:, :, 0])
    except ValueError:
        pass  # no JPEG, a damaged one, or one of four colours: told apart below
    squashed = store_image(data, ImagePolicy(size=at_least, quality=95)).jpeg
    return Image.open(BytesIO(squashed)).convert("L")


def fingerprints(images: pa.Table, cache: Path, root: Path, workers: int, each: Each) -> pa.Table:
    """SCHEMA, one row for each of `images` (group, locator): hash is null where there is none.

    There is none where an image cannot be read (packing says why) or is too plain. `cache` is a
    folder of Parquet files; only images that it does not know, or whose file has changed since, are
    read, by `workers` processes: give them in the order of their containers. Raises OSError if the
    cache cannot be written, ValueError if it is damaged.
    """
    folder = _folder(cache)
    stamps = _stamps(images["locator"], root)
    known = _known(folder)
    if len(new := _new(stamps, images["locator"], known)):
        chunks = [new.slice(at, _CHUNK) for at in range(0, len(new), _CHUNK)]
        labels = [str(number) for number in range(len(chunks))]
        with helpers(workers) as pool:
            each(partial(_hash_chunk, folder=folder, root=root, pool=pool), chunks, labels)
        known = _known(folder)
    hashes = known["hash"].take(_places(stamps, known))
    return pa.table([images["group"].cast(pa.string()), hashes], schema=SCHEMA)


def unknown(images: pa.Table, cache: Path, root: Path) -> list[str]:
    """The locators among `images` (group, locator) that `fingerprints` would have to read."""
    stamps = _stamps(images["locator"], root)
    return _new(stamps, images["locator"], _known(_folder(cache)))["locator"].to_pylist()


def _new(stamps: pa.ChunkedArray, locators: pa.ChunkedArray, known: pa.Table) -> pa.Table:
    """The images (stamp, locator) that are there and not in the cache, each once."""
    rows = pa.table({"image": stamps, "locator": locators})
    rows = rows.filter(_places(stamps, known).is_null()).filter(pc.field("image").is_valid())
    return rows.take(_first(rows["image"].combine_chunks().dictionary_encode()))


def _stamps(locators: pa.ChunkedArray, root: Path) -> pa.ChunkedArray:
    """16 bytes of each locator and its file's size and time of change; null without a file."""

    @lru_cache(_CHUNK)  # thousands of images lie in one container
    def state(path: str) -> str | None:
        try:
            found = (root / path).stat()
        except (OSError, ValueError):  # a NUL in a name
            return None
        return f"{found.st_size} {found.st_mtime_ns}"

    def stamp(locator: str) -> bytes | None:
        kind, _, where = locator.partition(":")
        now = state(where if kind == "file" else where.rpartition("@")[0])
        return None if now is None else xxh3_128_digest(f"{locator} {now}".encode())

    kind = pa.binary(16)
    parts = [pa.array([stamp(text) for text in part.to_pylist()], kind) for part in locators.chunks]
    return pa.chunked_array(parts, kind)


def _folder(cache: Path) -> Path:
    """Where fingerprints lie that this rule and these versions of the libraries gave."""
    return cache / "-".join(_RULE)


def _known(folder: Path) -> pa.Table:
    """All that the folder holds. Raises ValueError, saying what to remove, if it is damaged."""
    if not folder.is_dir():
        return _CACHE.empty_table()
    try:
        return pq.read_table(folder, schema=_CACHE)
    except (OSError, pa.ArrowException) as error:
        raise ValueError(
            f"fingerprints cannot be read: {error}. Remove {folder}; they are made anew"
        ) from error


def _places(stamps: pa.ChunkedArray, known: pa.Table) -> pa.ChunkedArray:
    """The row of the cache that each image has; null if it has none."""
    options = pc.SetLookupOptions(value_set=known["image"].combine_chunks())
    return pc.call_function("index_in", [stamps], options)


def _hash_chunk(chunk: pa.Table, folder: Path, root: Path, pool: Executor) -> None:
    """Fingerprint one chunk of images and add them to the cache as a file of its own."""
    locators = chunk["locator"].to_pylist()
    few = len(locators) <= _FEW  # done before a helper has started
    hashed = _hash(locators, root) if few else pool.submit(_hash, locators, root).result()
    # What could not be read may be readable tomorrow, without a change of the file.
    hashes, was_read = zip(*hashed, strict=True)
    table = pa.table([chunk["image"], pa.array(hashes, pa.binary(18))], schema=_CACHE)
    table = table.filter(pa.array(was_read))
    data = store.parquet_bytes(table)
    store.write(folder / f"{sha256(data).hexdigest()[:16]}.parquet", data)


def _hash(locators: list[str], root: Path) -> list[tuple[bytes | None, bool]]:
    """The fingerprint of each image, if it has one, and whether its bytes could be read."""
    hashes: list[tuple[bytes | None, bool]] = []
    with Images(root) as images:
        for locator in locators:
            data = None
            try:
                data = images.read(locator)
                hashes.append((fingerprint(data), True))
            except ImageError:
                hashes.append((None, data is not None))
    return hashes


def near(protected: pa.Table, others: pa.Table, threshold: int = ALIKE) -> pa.Table:
    """NEAR: each group of `others` that looks like one of `protected`, and which it is nearest to.

    Both are tables of SCHEMA; `distance` is in bits, at most `threshold`.
    """
    wanted, found = _Distinct.of(protected), [NEAR.empty_table()]
    for begin in range(0, len(others), _ROWS):
        asked = _Distinct.of(others.slice(begin, _ROWS))
        nearest = _nearest(wanted, asked, threshold, earlier=False)[asked.code]
        found.append(_pairs(asked, wanted, nearest))
    return _one_each(pa.concat_tables(found))


def near_each_other(prints: pa.Table, threshold: int = EQUAL) -> pa.Table:
    """NEAR: each group that looks like one whose name sorts before its own, and which it is nearest
    to. What remains without these groups has no two alike."""
    all_ = _Distinct.of(prints)
    nearest = _nearest(all_, all_, threshold, earlier=True)[all_.code]
    # of those with one hash, the first stays: the rest are equal to it
    again = all_.rank > all_.rank[all_.first][all_.code]
    nearest[again] = all_.code[again]
    return _one_each(_pairs(all_, all_, nearest))


class _Distinct(NamedTuple):
    """The fingerprints of a table in the order of their groups: N rows with U distinct hashes."""

    groups: pa.Array
    rank: np.ndarray  # [N] of the group among groups
    code: np.ndarray  # [N] which of the U hashes
    first: np.ndarray  # [U] the first row with that hash
    bands: np.ndarray  # uint16 [9, U]
    words: np.ndarray  # uint64 [3, U], the last filled with zeros

    @classmethod
    def of(cls, prints: pa.Table) -> "_Distinct":
        rows = prints.filter(prints["hash"].is_valid()).sort_by("group")
        groups, hashes = (rows[name].combine_chunks() for name in rows.column_names)
        coded = hashes.dictionary_encode()
        first = _first(coded)
        wide = np.zeros((len(first), 8 * _WORDS), np.uint8)
        raw = np.frombuffer(coded.dictionary.buffers()[1], np.uint8)
        wide[:, :18] = raw[: 18 * len(first)].reshape(-1, 18)
        bands = wide[:, :18].copy().view(np.uint16).T.copy()
        words = wide.view(np.uint64).T.copy()
        rank, code = np.cumsum(_begins(groups)), coded.indices.to_numpy()
        return cls(groups, rank, code, first, bands, words)


def _first(coded: pa.DictionaryArray) -> np.ndarray:
    """Where each distinct value first comes, in which order Arrow numbers them."""
    return np.flatnonzero(np.diff(np.maximum.accumulate(coded.indices.to_numpy()), prepend=-1))


def _begins(groups: pa.Array) -> np.ndarray:
    """Whether each of some sorted groups is another than the one before."""
    before, after = groups[:-1], groups[1:]
    another = pc.call_function("not_equal", [before, after]).to_numpy(zero_copy_only=False)
    return np.concatenate([np.ones(min(1, len(groups)), bool), another])


def _nearest(wanted: _Distinct, asked: _Distinct, threshold: int, earlier: bool) -> np.ndarray:
    """int64 [U of `asked`]: distance << 40 | the nearest hash in `wanted`; _NONE if none is near.

    `earlier`: only hashes whose first group sorts before that of the hash that asks.
    """
    nearest = np.full(len(asked.first), _NONE)
    before, after = wanted.rank[wanted.first], asked.rank[asked.first]
    for theirs, mine in _candidates(wanted.bands, asked.bands, threshold // _BANDS):
        keep = before[theirs] < after[mine] if earlier else np.full(len(mine), fill_value=True)
        distance = np.zeros(len(mine), np.int64)
        for word in range(_WORDS):  # most are too far already by the first
            theirs, mine, distance = theirs[keep], mine[keep], distance[keep]
            distance += np.bitwise_count(wanted.words[word, theirs] ^ asked.words[word, mine])
            keep = distance <= threshold
        np.minimum.at(nearest, mine[keep], distance[keep] << _SHIFT | theirs[keep])
    return nearest


def _candidates(
    wanted: np.ndarray, asked: np.ndarray, wrong: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs (number in `wanted`, number in `asked`) of which a band differs in at most `wrong`
    bits: all that are at most 9 * wrong + 8 apart are among them, most of them more than once."""
    every = np.arange(1 << 16, dtype=np.uint16)
    flips = every[np.bitwise_count(every) <= wrong]
    step = max(1, _ENTRIES // len(flips))
    for band in range(_BANDS):
        for begin in range(0, wanted.shape[1], step):
            values = (wanted[band, begin : begin + step, None] ^ flips).ravel()
            owners = begin + np.argsort(values, kind="stable") // len(flips)
            starts = np.concatenate([[0], np.cumsum(np.bincount(values, minlength=1 << 16))])
            sought = asked[band].astype(np.int64)
            found = starts[sought + 1] - starts[sought]
            ends = np.cumsum(found)
            cuts = np.searchsorted(ends, np.arange(_PAIRS, found.sum(), _PAIRS), side="right")
            for low, high in pairwise([0, *cuts.tolist(), len(found)]):
                counts = found[low:high]
                skipped = starts[sought[low:high]] - (np.cumsum(counts) - counts)
                places = np.arange(counts.sum()) + np.repeat(skipped, counts)
                yield owners[places], np.repeat(np.arange(low, high), counts)


def _pairs(asked: _Distinct, wanted: _Distinct, nearest: np.ndarray) -> pa.Table:
    """NEAR of the rows of `asked` that have a nearest hash in `wanted`."""
    rows = np.flatnonzero(nearest < _NONE)
    hashes, distance = nearest[rows] & ((1 << _SHIFT) - 1), nearest[rows] >> _SHIFT
    groups = wanted.groups.take(pa.array(wanted.first[hashes]))
    return pa.table([asked.groups.take(pa.array(rows)), groups, distance], schema=NEAR)


def _one_each(pairs: pa.Table) -> pa.Table:
    """Sorted; of a group with several, the nearest; and none that is near itself."""
    order = [(name, "ascending") for name in ("group", "distance", "near_group")]
    pairs = pairs.filter(pc.field("group") != pc.field("near_group")).sort_by(order)
    return pairs.filter(pa.array(_begins(pairs["group"].combine_chunks())))

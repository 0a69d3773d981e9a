"""The buffers of a batch: one block of memory a slot, reused step after step.

One block, because a process can then share it and pin it once, and copy a batch to a GPU at once.
"""

from collections.abc import Iterator

import numpy as np

from manifests.schema import MAX_STEPS, ROBOTS, SITE_FACTS

NO_LOSS = -100
_ALIGN = 64  # bytes: a cache line


class Slot:
    """Buffers for `size` samples of at most `max_tokens` tokens.

    images uint8 [B,H,W,3]; tokens, labels, thread int64 [B,T] (label -100 = no loss; thread 0 = the
    prefix that all threads of the row see, and padding); robots float32 [B,5] multi-hot; single,
    has_image bool [B]; plan int64 [B,5,2] (robot, order; -1 = none); site float32 [B,F] (NaN =
    unknown); caption_at int64 [B] (where the first caption ends, -1 = none); corpus (the source's
    ordinal), record (its number in the source), group int64 [B].

    `memory`, uint8 [nbytes], is all of them; it is given where it is shared. `fields` says where
    each lies in it: first byte, type, shape. The rows of a part begin at `first` there.
    """

    images: np.ndarray
    tokens: np.ndarray
    labels: np.ndarray
    thread: np.ndarray
    robots: np.ndarray
    single: np.ndarray
    plan: np.ndarray
    site: np.ndarray
    caption_at: np.ndarray
    has_image: np.ndarray
    corpus: np.ndarray
    record: np.ndarray
    group: np.ndarray

    def __init__(
        self, size: int, max_tokens: int, pixels: int, memory: np.ndarray | None = None
    ) -> None:
        self.memory = np.zeros(nbytes(size, max_tokens, pixels), np.uint8)
        if memory is not None:
            self.memory = memory[: len(self.memory)]
        self.first = 0
        self.fields = dict(_fields(size, max_tokens, pixels))
        for name, (begin, kind, shape) in self.fields.items():
            array = np.frombuffer(self.memory, kind, int(np.prod(shape)), begin)
            setattr(self, name, array.reshape(shape))

    def __len__(self) -> int:
        return len(self.tokens)

    def part(self, begin: int, end: int) -> "Slot":
        """Rows begin..end-1 as a slot that shares this one's memory."""
        view = object.__new__(Slot)
        view.memory, view.fields, view.first = self.memory, self.fields, self.first + begin
        for name, array in self.arrays():
            setattr(view, name, array[begin:end])
        return view

    def arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        """Every field by name."""
        return ((name, getattr(self, name)) for name in self.fields)


def nbytes(size: int, max_tokens: int, pixels: int) -> int:
    """Bytes of a slot's memory; a slot after another one in a block begins there."""
    *_, (begin, kind, shape) = (field for _, field in _fields(size, max_tokens, pixels))
    return _aligned(begin + int(np.prod(shape)) * kind.itemsize)


def _fields(
    size: int, max_tokens: int, pixels: int
) -> Iterator[tuple[str, tuple[int, np.dtype, tuple[int, ...]]]]:
    """Each field's name, and its place in the memory: first byte, type, shape."""
    begin = 0
    for name, kind, shape in (
        ("images", np.uint8, (pixels, pixels, 3)),
        ("tokens", np.int64, (max_tokens,)),
        ("labels", np.int64, (max_tokens,)),
        ("thread", np.int64, (max_tokens,)),
        ("plan", np.int64, (MAX_STEPS, 2)),
        ("caption_at", np.int64, ()),
        ("corpus", np.int64, ()),
        ("record", np.int64, ()),
        ("group", np.int64, ()),
        ("robots", np.float32, (len(ROBOTS),)),
        ("site", np.float32, (len(SITE_FACTS),)),
        ("single", np.bool_, ()),
        ("has_image", np.bool_, ()),
    ):
        dtype = np.dtype(kind)
        whole = (size, *shape)
        yield name, (begin, dtype, whole)
        begin = _aligned(begin + int(np.prod(whole)) * dtype.itemsize)


def _aligned(number: int) -> int:
    return -(-number // _ALIGN) * _ALIGN

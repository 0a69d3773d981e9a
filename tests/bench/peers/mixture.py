"""Three sources mixed .6/.3/.1 by another library, or by us: how exactly, how repeatably, resumed.

    python tests/bench/peers/mixture.py PEER order FOLDER...          a run from the beginning
    python tests/bench/peers/mixture.py PEER stop STATE FOLDER...     one that saves, and goes on
    python tests/bench/peers/mixture.py PEER resume STATE FOLDER...   one that goes on from there

Run by `tests/bench/stream.py`. A FOLDER for each source: our tars (webdataset), what
`convert.py` made of them (the others), or once our data set itself (ours). No picture is
decoded. `order` prints how far, in samples, any prefix of DRAWS is from the shares that were asked
for, and a digest of the order; `stop` and `resume` print the samples of the batches after 45.
"""

import hashlib
import json
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from measure import end
from sizes import BATCH, WORKERS
from torch.utils.data import DataLoader, default_collate

WEIGHTS = (0.6, 0.3, 0.1)
DRAWS, _STOP = 10_016, 45  # samples, batches
_BUFFER, _SEED, _PREFIXES = 500, 1, 100
_loading = {"num_workers": WORKERS, "persistent_workers": True, "prefetch_factor": 2}


class Mixed:
    """A peer's mixture. `batches()` gives the corpora of a batch's samples, and their names; one
    whose `state()` is None cannot be resumed."""

    def __init__(self, folders: list[Path]) -> None:
        self.folders = folders
        self.loader: Any = self.open()

    def open(self) -> Any:
        raise NotImplementedError

    def state(self) -> Any:
        return self.loader.state_dict()

    def load(self, state: Any) -> None:
        self.loader.load_state_dict(state)

    def batches(self) -> Iterator[list[Sequence[str]]]:
        while True:
            yield from self.loader


def main() -> None:
    peer, mode, *rest = sys.argv[1:]
    folders = [Path(path) for path in (rest if mode == "order" else rest[1:])]
    mixed = PEERS[peer](folders)
    if mode == "order":
        print(json.dumps(_order(mixed.batches())))
        end()
    state = Path(rest[0])
    if mode == "resume":
        mixed.load(pickle.loads(state.read_bytes()))
    batches = iter(mixed.batches())
    if mode == "stop":
        list(islice(batches, _STOP))
        state.write_bytes(pickle.dumps(mixed.state()))
    nbytes = None if mixed.state() is None else state.stat().st_size
    print(json.dumps({"batches": list(islice(batches, _STOP)), "state": nbytes}))
    end()


def _order(batches: Iterable[list[Sequence[str]]]) -> dict[str, Any]:
    drawn: list[tuple[str, str]] = []
    for batch in batches:
        drawn += zip(*batch, strict=True)
        if len(drawn) >= DRAWS:
            break
    drawn = drawn[:DRAWS]
    names = ("first", "second", "third")
    sources = np.array([[corpus == name for name in names] for corpus, _ in drawn])
    assert sources.sum() == DRAWS, "a sample is of none of the three sources"
    drawn_by = np.arange(1, DRAWS + 1)
    errors = np.abs(np.cumsum(sources, axis=0) - drawn_by[:, None] * np.array(WEIGHTS)).max(axis=1)
    prefixes = np.linspace(1, DRAWS, _PREFIXES).astype(int) - 1
    return {
        "draws": DRAWS,
        "error": round(float(errors.max()), 3),
        "error_at_100": round(float(errors[prefixes].max()), 3),
        "order": hashlib.sha256(json.dumps(drawn).encode()).hexdigest()[:16],
    }


def _name(said: bytes | dict) -> tuple[str, str]:
    record = said if isinstance(said, dict) else json.loads(said)
    return record["corpus"], record["group"]


class Webdataset(Mixed):
    def open(self) -> Any:
        from webdataset import filters
        from webdataset.compat import WebDataset
        from webdataset.mix import RandomMix
        from webdataset.pipeline import DataPipeline

        sources = []
        for folder in self.folders:
            tars = sorted(map(str, folder.glob("*.tar")))
            source: Any = WebDataset(
                tars, shardshuffle=100, seed=_SEED, nodesplitter=None, empty_check=False
            )
            sources.append(source.repeat().shuffle(_BUFFER, seed=_SEED))
        mixed = RandomMix(sources, probs=list(WEIGHTS), longest=True)
        named = filters.map(lambda one: _name(one["json"]))
        batches = filters.batched(BATCH, collation_fn=default_collate, partial=False)
        data: Any = DataPipeline(mixed, named, batches)
        return DataLoader(data, batch_size=None, **_loading)

    def state(self) -> None:
        return None  # it has none

    def load(self, state: Any) -> None:
        pass


class Mosaicml(Mixed):
    def open(self) -> Any:
        import streaming  # pyright: ignore[reportMissingImports]
        from streaming.base.util import (  # pyright: ignore[reportMissingImports]
            clean_stale_shared_memory,
        )

        clean_stale_shared_memory()

        class Named(streaming.StreamingDataset):
            def __getitem__(self, number: int) -> Any:
                return _name(super().__getitem__(number)["json"])

        data = Named(
            streams=[
                streaming.Stream(local=str(folder), proportion=weight)
                for folder, weight in zip(self.folders, WEIGHTS, strict=True)
            ],
            epoch_size=2 * DRAWS,
            shuffle=True,
            shuffle_seed=_SEED,
            batch_size=BATCH,
            num_canonical_nodes=1,
        )
        return streaming.StreamingDataLoader(data, batch_size=BATCH, drop_last=True, **_loading)


class Litdata(Mixed):
    def open(self) -> Any:
        import litdata  # pyright: ignore[reportMissingImports]

        class Named(litdata.StreamingDataset):
            def __getitem__(self, number: int) -> Any:
                return _name(super().__getitem__(number)["json"])

        data = litdata.CombinedStreamingDataset(
            [Named(str(folder), shuffle=True, seed=_SEED) for folder in self.folders],
            seed=_SEED,
            weights=list(WEIGHTS),
            iterate_over_all=False,
        )
        return litdata.StreamingDataLoader(data, batch_size=BATCH, drop_last=True, **_loading)


class Energon(Mixed):
    def open(self) -> Any:
        from tempfile import mkdtemp

        from megatron import energon

        @energon.stateless
        def cook(one: dict) -> Any:
            return {**energon.basic_sample_keys(one), "name": _name(one["json"])}

        class Encoder(energon.DefaultTaskEncoder):
            decoder = None
            cookers = (energon.Cooker(cook),)

            def batch(self, samples: list[dict]) -> list:
                return default_collate([one["name"] for one in samples])

        home = Path(mkdtemp())
        blend = []
        for folder, weight in zip(self.folders, WEIGHTS, strict=True):
            blend.append(f"      - weight: {weight}\n        path: {folder.resolve()}\n")
        said = "__module__: megatron.energon\n__class__: MetadatasetV2\nsplits:\n  train:\n"
        (home / "blend.yaml").write_text(f"{said}    blend:\n{''.join(blend)}")
        config = energon.WorkerConfig(rank=0, world_size=1, num_workers=WORKERS, seed_offset=_SEED)
        return energon.get_savable_loader(
            energon.get_train_dataset(
                str(home / "blend.yaml"),
                worker_config=config,
                batch_size=BATCH,
                shuffle_buffer_size=_BUFFER,
                max_samples_per_sequence=100,
                task_encoder=Encoder(),
            )
        )

    def state(self) -> Any:
        return self.loader.save_state_rank()

    def load(self, state: Any) -> None:
        self.loader.restore_state_rank(state)


class Ours(Mixed):
    def open(self) -> Any:
        from our_stream import open_stream

        names = ("first", "second", "third")
        self._first = 0
        return open_stream(self.folders[0], dict(zip(names, WEIGHTS, strict=True)))

    def state(self) -> int:
        return _STOP  # all there is to it

    def load(self, state: int) -> None:
        self._first = state

    def batches(self) -> Iterator[list[Sequence[str]]]:
        from our_stream import ring

        with ring(self.loader, range(self._first, 10**9), "threads") as batches:
            for _, (slot,) in batches:
                corpora = [self.loader.names[number] for number in slot.corpus]
                groups = [f"{group}" for group in slot.group]
                yield [corpora, groups]


PEERS: dict[str, Callable[[list[Path]], Mixed]] = {
    kind.__name__.lower(): kind for kind in (Webdataset, Mosaicml, Litdata, Energon, Ours)
}

if __name__ == "__main__":
    main()

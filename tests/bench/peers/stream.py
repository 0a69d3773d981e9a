"""Another library's batches, measured: JPEGs and captions from shards to torch tensors.

    python tests/bench/peers/stream.py PEER squash|keep FOLDER DECODER SECONDS

Run by `tests/bench/stream.py` in an environment that has the library, and nothing of ours. FOLDER
holds our tars (webdataset, energon, hf, dali), files (loose), or what `convert.py` made of the tars
(litdata, mosaicml). Each peer goes its own simple way with two workers, at its best: they decode
and make batches in their workers, shuffle by a buffer of 1,000 or more, and begin no new pass
while they are measured if they have a way to tell them so.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from measure import Batch, forever, measure
from sizes import BATCH, SIDE, WORKERS
from torch.utils.data import DataLoader, RandomSampler, default_collate
from work import DECODERS, tokens

_BUFFER = 1000  # samples that are shuffled at a time
_MANY = 64_000  # samples a pass, where that can be said
_loading = {"num_workers": WORKERS, "persistent_workers": True, "prefetch_factor": 2}


@dataclass(frozen=True)
class Given:
    """What a peer is given: a folder, how large the pictures are in it, and how to decode them."""

    variant: str
    folder: Path
    decoder: str

    @property
    def tars(self) -> list[str]:
        return sorted(map(str, self.folder.glob("*/*.tar")))

    def sample(self, jpeg: bytes, said: bytes | dict) -> tuple[torch.Tensor, torch.Tensor]:
        return DECODERS[self.decoder](jpeg), tokens(said)


def main() -> None:
    peer, variant, folder, decoder, seconds = sys.argv[1:]
    measure(PEERS[peer](Given(variant, Path(folder), decoder)), float(seconds))


def loose(given: Given) -> Iterable[Batch]:
    class Files(torch.utils.data.Dataset):
        def __init__(self) -> None:
            self.records = json.loads((given.folder / "list.json").read_text())

        def __len__(self) -> int:
            return len(self.records)

        def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
            record = self.records[number]
            return given.sample((given.folder / record["file"]).read_bytes(), record)

    files = Files()
    order = RandomSampler(files, num_samples=_MANY)
    return DataLoader(files, BATCH, sampler=order, drop_last=True, **_loading)


def webdataset(given: Given) -> Iterable[Batch]:
    from webdataset.compat import WebDataset

    data: Any = WebDataset(
        given.tars, shardshuffle=100, seed=1, nodesplitter=None, empty_check=False
    )
    data = data.shuffle(_BUFFER).map(lambda one: given.sample(one["jpg"], one["json"]))
    batches = data.batched(BATCH, collation_fn=default_collate, partial=False).repeat()
    return DataLoader(batches, batch_size=None, **_loading)


def mosaicml(given: Given) -> Iterable[Batch]:
    from streaming import StreamingDataset  # pyright: ignore[reportMissingImports]
    from streaming.base.util import (  # pyright: ignore[reportMissingImports]
        clean_stale_shared_memory,
    )

    clean_stale_shared_memory()

    class Decoded(StreamingDataset):
        def __getitem__(self, number: int) -> Any:
            one = super().__getitem__(number)
            return given.sample(one["jpg"], one["json"])

    data = Decoded(
        local=str(given.folder),
        shuffle=True,
        batch_size=BATCH,
        num_canonical_nodes=1,
        epoch_size=_MANY,
    )
    return DataLoader(data, BATCH, drop_last=True, **_loading)


def litdata(given: Given) -> Iterable[Batch]:
    import litdata  # pyright: ignore[reportMissingImports]

    class Decoded(litdata.StreamingDataset):
        def __getitem__(self, number: int) -> Any:
            one = super().__getitem__(number)
            return given.sample(one["jpg"], one["json"])

    data = Decoded(str(given.folder), shuffle=True, drop_last=True)
    return forever(litdata.StreamingDataLoader(data, batch_size=BATCH, drop_last=True, **_loading))


def energon(given: Given) -> Iterable[Batch]:
    from megatron import energon

    @energon.stateless
    def cook(one: dict) -> Any:
        images, ids = given.sample(one["jpg"], one["json"])
        return {**energon.basic_sample_keys(one), "images": images, "ids": ids}

    class Encoder(energon.DefaultTaskEncoder):
        decoder = None
        cookers = (energon.Cooker(cook),)

        def batch(self, samples: list[dict]) -> list[torch.Tensor]:
            return default_collate([(one["images"], one["ids"]) for one in samples])

    return energon.get_loader(
        energon.get_train_dataset(
            str(given.folder),
            worker_config=energon.WorkerConfig(rank=0, world_size=1, num_workers=WORKERS),
            batch_size=BATCH,
            shuffle_buffer_size=_BUFFER,
            max_samples_per_sequence=100,
            task_encoder=Encoder(),
        )
    )


def hf(given: Given) -> Iterable[Batch]:
    import datasets

    files = {"train": given.tars}
    data: Any = datasets.load_dataset("webdataset", data_files=files, split="train", streaming=True)
    data = data.cast_column("jpg", datasets.Image(decode=False)).repeat(None)
    data = data.shuffle(seed=1, buffer_size=_BUFFER)

    def both(one: dict) -> dict[str, torch.Tensor]:
        images, ids = given.sample(one["jpg"]["bytes"], one["json"])
        return {"images": images, "ids": ids}

    data = data.map(both, remove_columns=data.column_names)
    loader = DataLoader(data, BATCH, drop_last=True, **_loading)
    return ((batch["images"], batch["ids"]) for batch in loader)


def dali(given: Given) -> Iterator[Batch]:
    from nvidia.dali import fn, pipeline_def, types  # pyright: ignore[reportMissingImports]

    @pipeline_def(batch_size=BATCH, num_threads=WORKERS, device_id=None, prefetch_queue_depth=2)
    def pipeline() -> Any:
        jpeg, said = fn.readers.webdataset(
            paths=given.tars, ext=["jpg", "json"], random_shuffle=True, initial_fill=_BUFFER
        )
        images = fn.decoders.image(jpeg, device="cpu", output_type=types.RGB)
        if given.variant == "keep":
            images = fn.resize(images, size=[SIDE, SIDE], interp_type=types.INTERP_LINEAR)
        return images, said

    built = pipeline()
    built.build()
    while True:
        images, said = built.run()
        ids = [tokens(said.at(place).tobytes()) for place in range(BATCH)]
        yield torch.from_dlpack(images.as_tensor()), torch.stack(ids)


PEERS: dict[str, Callable[[Given], Iterable[Batch]]] = {
    peer.__name__: peer for peer in (loose, webdataset, mosaicml, litdata, energon, hf, dali)
}

if __name__ == "__main__":
    main()

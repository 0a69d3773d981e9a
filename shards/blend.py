"""A mixture for Megatron-Energon: a `blend` over one data set, and the files that it names.

    OUT.yaml                       each source: its weight, its split, its file of tars
    .nv-meta/split-<corpus>.yaml   the tars of one corpus in each split, as split.yaml has all

Energon draws at random by weight, and one of its samples is a whole record. What it cannot express
stands at the head of OUT (`limits`).
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import yaml

from manifests import disk, store
from manifests.schema import SPLITS
from manifests.seal import Seal
from shards import energon
from shards.mixing import Mixture, SourceSpec
from shards.outputs import check_outside, writing
from shards.reader import Dataset
from shards.sequential import FileError, read_there

_MADE = "# Made by `python -m shards`: the tars of "
_ENDS = {
    "stop": "the mixture ends with the first source that has been through",
    "drop": "a source that has been through is left out",
}


def listings(sealed: Seal) -> dict[str, bytes]:
    """The tars of each corpus by split, in files that Energon takes as a `split_config`; by their
    paths in the data set."""
    found = {}
    shards = energon.filled(sealed)
    for corpus in sorted({shard.corpus for shard in shards}):
        mine = [shard for shard in shards if shard.corpus == corpus]
        parts = {name: [shard.tar for shard in mine if shard.split == name] for name in SPLITS}
        split = yaml.safe_dump({"split_parts": parts, "exclude": []}, sort_keys=False, width=10_000)
        found[f"{energon.META}/{_split_name(corpus)}"] = f"{_MADE}{corpus}\n{split}".encode()
    return found


def left_over(folder: Path, sealed: Seal) -> list[str]:
    """Files of an older `listings`, of corpora that have no records any more."""
    there = (f"{energon.META}/{path.name}" for path in (folder / energon.META).glob("split-*.yaml"))
    gone = sorted(set(there) - listings(sealed).keys())
    return [name for name in gone if _read(folder, name).startswith(_MADE.encode())]


def limits(sources: Mapping[str, SourceSpec], mixture: Mixture) -> Iterator[str]:
    """What of a mixture Energon cannot express, a sentence each."""
    yield (
        "Shares: weights are shares of samples. Energon draws at random and comes near them in the "
        "mean; here they are exact at every step"
    )
    yield "Order: it is Energon's own, no function of the seal, the seed and the step"
    if end := _ENDS.get(mixture.exhausted):
        yield f"End: here {end}; Energon repeats all of them without end"
    turns = ", ".join(f"{name} {spec.turns}" for name, spec in sources.items())
    yield (
        f"Turns ({turns}): a sample of Energon's is a whole record; a cooker has to choose its "
        f"turns, as the subflavors of each source say"
    )
    if kinds := [f"{name} {'+'.join(spec.kinds)}" for name, spec in sources.items() if spec.kinds]:
        yield (
            f"Kinds ({', '.join(kinds)}): records that have none of these kinds of turns are drawn "
            f"as well"
        )


def render(folder: Path, sources: Mapping[str, SourceSpec], mixture: Mixture) -> str:
    """The blend as YAML: Energon's MetadatasetV2 over the data set in `folder`."""
    blend = [
        {
            "weight": mixture.shares[name],
            "path": str(folder.resolve()),
            "split_config": _split_name(spec.corpus or name),
            "split_part": spec.split,
            "subflavors": {"source": name, "turns": spec.turns, "kinds": list(spec.kinds)},
        }
        for name, spec in sources.items()
    ]
    head = "".join(f"# {sentence}.\n" for sentence in limits(sources, mixture))
    settings = {
        "__module__": "megatron.energon",
        "__class__": "MetadatasetV2",
        "splits": {"train": {"blend": blend}},
    }
    return head + yaml.safe_dump(settings, sort_keys=False, width=10_000)


def write(
    dataset: Dataset, out: Path, sources: Mapping[str, SourceSpec], mixture: Mixture
) -> list[str]:
    """Write the blend to `out`, and into the data set those of `listings` that it lacks.

    Returns the paths of these; what is left over there of older ones is removed. Raises ValueError
    for a data set that is not local or that lacks Energon's sidecars, and for an `out` that Energon
    would not read; OSError.
    """
    folder, sealed = dataset.folder, dataset.seal
    if dataset.files.remote:
        raise ValueError("Energon is given a local data set; name its folder with --data")
    if out.suffix != ".yaml":
        raise ValueError(f"--out {out}: Energon takes a file for a blend only if it ends in .yaml")
    check_outside("--out", out, folder)
    wanted = energon.listings(sealed)
    if not energon.index_is_fresh(folder, sealed) or _differing(folder, wanted):
        raise ValueError(
            f"{folder} lacks the files that Energon wants beside its tars, or has those of an "
            f"older build. Make them with: python -m shards sidecars {folder}"
        )
    lacking = _differing(folder, listings(sealed))
    gone = left_over(folder, sealed)
    if lacking or gone:
        with store.sole_writer(folder):
            for name, data in lacking.items():
                store.write(folder / name, data)
            for name in gone:
                disk.remove(folder / name)
    with writing("--out", out):
        store.write(out, render(folder, sources, mixture).encode())
    return list(lacking)


def _split_name(corpus: str) -> str:
    return f"split-{corpus}.yaml"


def _differing(folder: Path, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Those of `files` that the data set has not, or with another content."""
    return {name: data for name, data in files.items() if _read(folder, name) != data}


def _read(folder: Path, name: str) -> bytes:
    """A file of the data set; nothing for one that cannot be read, or is none."""
    with suppress(FileError):
        return read_there(folder, name) or b""
    return b""

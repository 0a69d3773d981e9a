"""The words of the project as types: Turn, Step, Record, and one manifest row.

A record is one image and all that is said about it. On disk it is two tar members, `key.jpg` and
`key.json`; the JSON is canonical (sorted keys, no spaces, UTF-8), so equal records are equal bytes.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec
import pyarrow as pa

SCHEMA_VERSION = 1

ROBOTS = ("Drone", "Underwater Robot", "Humanoid", "Robot with Wheels", "Robot with Legs")
MAX_STEPS = 5  # steps of a plan that a Batch can hold
MAX_THREAD = 65_535  # what the token cache can hold

Split = Literal["train", "val", "test"]
SPLITS: tuple[str, ...] = get_args(Split)
Kind = Literal["caption", "qa", "grounding", "instruction", "robot", "reasoning"]
KINDS: tuple[str, ...] = get_args(Kind)
Status = Literal["written", "quarantined", "duplicate", "held back", "unannotated"]
STATUSES: tuple[str, ...] = get_args(Status)

TERRAINS = ("floor", "pavement", "grass", "sand", "mud", "rubble", "rock", "snow", "water")
SITE_FACTS = (
    *(f"terrain_{terrain}" for terrain in TERRAINS),
    "indoor",  # 0 or 1
    "water_depth_m",
    "height_m",  # of the work above the ground
    "slope_deg",
    "stairs",  # 0 or 1
    "doors",  # 0 or 1
    "clutter",  # 0 (clear) to 1 (blocked)
    "ceiling_m",
    "wind_ms",
    "rain",  # 0 to 1
    "light",  # 0 (dark) to 1 (day)
    "distance_m",
    "people",  # 0 or 1
    "payload_kg",  # of what is to be carried
)

_KEY = re.compile(r"[A-Za-z0-9_-]{1,90}")


class Turn(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One prompt and its target. Turns of one `thread` follow one another; threads stand alone.

    `box` is (x0, y0, x1, y1) in 0..1 of the oriented image. `id` is the annotation's own id in its
    corpus. `answers` keeps every annotator's answer, `target` the one that is trained on.
    """

    thread: int
    id: str
    prompt: str
    target: str
    kind: Kind
    answers: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    rationales: tuple[str, ...] = ()
    box: tuple[float, float, float, float] | None = None


class Step(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One subtask of a plan: what is done, by which robot, and when (equal orders run together)."""

    text: str
    robot: str
    order: int


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One image and all that is said about it.

    `key` names it in every shard (A-Z a-z 0-9 _ -, no dots), `group` is what must not be split (a
    canonical image identity or a task's normal form), `image` the JPEG bytes as stored, `robots`
    the set that suits, `meta` canonical JSON (site, evidence, pair, requirements ...).
    """

    key: str
    corpus: str
    group: str
    split: Split
    image: bytes
    turns: tuple[Turn, ...]
    robots: tuple[str, ...] = ()
    plan: tuple[Step, ...] = ()
    licence: str = ""
    meta: str = "{}"

    def encode(self) -> bytes:
        """The content of `key.json`: every field but the key and the image."""
        return _encoder.encode({name: getattr(self, name) for name in _MEMBER})

    @classmethod
    def decode(cls, key: str, image: bytes, member: bytes) -> "Record":
        """The inverse of `encode`. Raises msgspec.DecodeError (a ValueError) on anything else."""
        fields = msgspec.json.decode(member, type=dict)
        return msgspec.convert({**fields, "key": key, "image": image}, cls)


_MEMBER = tuple(f for f in Record.__struct_fields__ if f not in ("key", "image"))
_encoder = msgspec.json.Encoder(order="sorted")
_decoder = msgspec.json.Decoder(dict[str, Any])


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces: equal values are equal strings."""
    return _encoder.encode(value).decode()


def check(record: Record) -> None:
    """Raise ValueError, naming the record, if it could not be stored and read back as it is."""

    def refuse(what: str) -> None:
        raise ValueError(f"record {record.key!r} of {record.corpus}: {what}")

    if not _KEY.fullmatch(record.key):
        refuse("a key is 1 to 90 of A-Z a-z 0-9 _ - (a dot would split its name in a tar)")
    if not record.turns:
        refuse("no turns: a record is an image and something said about it")
    for robot in (*record.robots, *(step.robot for step in record.plan)):
        if robot not in ROBOTS:
            refuse(f"unknown robot {robot!r}; the robots are {', '.join(ROBOTS)}")
    if len(record.plan) > MAX_STEPS:
        refuse(f"{len(record.plan)} steps; a plan has at most {MAX_STEPS}")
    for turn in record.turns:
        if not 0 <= turn.thread <= MAX_THREAD:
            refuse(f"turn {turn.id} is of thread {turn.thread}; expected 0 to {MAX_THREAD}")
        if not turn.target.strip():
            refuse(f"turn {turn.id} has no target")
        if turn.box is not None:
            x0, y0, x1, y1 = turn.box
            if not (0 <= x0 <= x1 <= 1 and 0 <= y0 <= y1 <= 1):
                refuse(f"turn {turn.id} has box {turn.box}; expected 0 <= x0 <= x1 <= 1, y alike")


def decode_meta(text: str) -> dict[str, Any]:
    """A record's `meta`. Raises ValueError where readers could make nothing of it."""
    meta = _decoder.decode(text)
    evidence, site = meta.get("evidence") or {}, meta.get("site") or {}
    facts = evidence.get("facts", {}) if isinstance(evidence, dict) else {}
    for name, part in (("evidence", evidence), ("its facts", facts), ("site", site)):
        if not isinstance(part, dict):
            raise ValueError(f"its meta has for {name} {part!r}, expected an object")
    try:
        site_vector(text)
    except TypeError as error:  # of float, or of a terrain that is a list
        raise ValueError(f"its meta has a site with a fact that is no number ({error})") from None
    if canonical_json(meta) != text:
        raise ValueError("its meta is not canonical JSON")
    return meta


def seen_site(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of the site in a record's decoded `meta` that its picture shows: all but those that
    are evident from the text alone."""
    told = (meta.get("evidence") or {}).get("facts", {})
    site = meta.get("site") or {}
    return {fact: value for fact, value in site.items() if told.get(fact) != "text"}


def site_vector(meta: str) -> list[float]:
    """What the picture shows of the site in a record's `meta`, as one float for each of SITE_FACTS;
    NaN where unknown."""
    site = seen_site(msgspec.json.decode(meta)) if '"site"' in meta else None
    if not site:
        return [math.nan] * len(SITE_FACTS)
    if (terrain := site.get("terrain")) is not None and terrain not in TERRAINS:
        raise ValueError(f"unknown terrain {terrain!r}; the terrains are {', '.join(TERRAINS)}")
    one_hot = {f"terrain_{t}": float(t == terrain) for t in TERRAINS} if terrain else {}
    return [float({**site, **one_hot}.get(fact, math.nan)) for fact in SITE_FACTS]


# One row a record and fate: a record of five captions, one of them a duplicate, has a row
# "written" with turns=4 and a row "duplicate" with turns=1. So sums of `turns` are the ledger.
MANIFEST = pa.schema(
    [
        ("key", pa.string()),
        ("corpus", pa.string()),
        ("split", pa.string()),
        ("group", pa.string()),
        ("shard", pa.string()),  # file name of the tar; null unless written
        ("offset", pa.int64()),  # of the record's first header in the tar
        ("nbytes", pa.int64()),  # first header to last padding
        ("digest", pa.string()),  # xxh3-128 of these bytes, hex
        ("width", pa.int32()),  # of the oriented source image
        ("height", pa.int32()),
        ("turns", pa.int32()),
        ("kinds", pa.list_(pa.string())),
        ("licence", pa.string()),
        ("pair", pa.string()),
        ("evidence", pa.string()),  # what decides: text, picture or both
        ("locator", pa.string()),
        ("source_digest", pa.string()),  # xxh3-128 of the source image's bytes, hex
        ("status", pa.string()),
        ("error", pa.string()),
    ]
)

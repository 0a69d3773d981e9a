"""Records as bytes and back, what is refused, and the site as numbers."""

import math

import msgspec
import pytest

from manifests import schema
from manifests.schema import MANIFEST, Record, Step, Turn

TURN = Turn(thread=0, id="7", prompt="What?", target="Caf\u00e9", kind="qa", answers=("a", "b"))


def _record(**fields) -> Record:
    whole = {
        "key": "coco-7",
        "corpus": "coco",
        "group": "coco:7",
        "split": "train",
        "image": b"jpeg",
        "turns": (TURN,),
        **fields,
    }
    return Record(**whole)


def test_the_member_is_canonical_json():
    assert (
        _record().encode()
        == (
            '{"corpus":"coco","group":"coco:7","licence":"","meta":"{}","plan":[],"robots":[],'
            '"split":"train","turns":[{"answers":["a","b"],"box":null,"choices":[],"id":"7",'
            '"kind":"qa","prompt":"What?","rationales":[],"target":"Caf\u00e9","thread":0}]}'
        ).encode()
    )


def test_decode_is_the_inverse_of_encode():
    box = (0.1, 1 / 3, 0.5, 1.0)
    record = _record(
        turns=(TURN, msgspec.structs.replace(TURN, id="8", box=box, rationales=("r",))),
        robots=("Drone",),
        plan=(Step(text="fly", robot="Drone", order=1),),
        licence="CC BY 4.0",
        meta='{"pair":"7"}',
    )
    assert Record.decode("coco-7", b"jpeg", record.encode()) == record


@pytest.mark.parametrize(
    "member",
    [
        b"",
        b"[]",
        b"{}",
        _record().encode()[:-1],
        _record().encode().replace(b'"split"', b'"spilt"'),
        _record().encode().replace(b'"train"', b'"training"'),
        _record().encode().replace(b'"qa"', b'"question"'),
        _record().encode().replace("\u00e9".encode(), b"\xe9"),
    ],
)
def test_decode_refuses_anything_else(member):
    with pytest.raises(ValueError, match=r"."):
        Record.decode("coco-7", b"jpeg", member)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"key": "coco.7"}, "a dot would split its name"),
        ({"key": ""}, "1 to 90"),
        ({"key": "k" * 91}, "1 to 90"),
        ({"key": "a/b"}, "1 to 90"),
        ({"key": "k\u00e9"}, "1 to 90"),
        ({"key": "k\n"}, "1 to 90"),
        ({"turns": ()}, "no turns"),
        ({"robots": ("Drone", "Submarine")}, "unknown robot 'Submarine'"),
        ({"plan": (Step(text="dive", robot="Boat", order=0),)}, "unknown robot 'Boat'"),
        (
            {"plan": (Step(text="fly", robot="Drone", order=0),) * 6},
            "6 steps; a plan has",
        ),
        ({"turns": (msgspec.structs.replace(TURN, target=" \n"),)}, "turn 7 has no target"),
    ],
)
def test_check_refuses_what_could_not_be_stored(fields, message):
    with pytest.raises(ValueError, match=f"record .* of coco: .*{message}"):
        schema.check(_record(**fields))


@pytest.mark.parametrize(
    ("box", "right"),
    [
        ((0, 0, 1, 1), True),
        ((0.5, 0.5, 0.5, 0.5), True),
        ((-0.1, 0, 1, 1), False),
        ((0, 0, 1, 1.01), False),
        ((0.6, 0, 0.5, 1), False),
        ((0, math.nan, 1, 1), False),
    ],
)
def test_boxes_lie_in_the_image(box, right):
    record = _record(turns=(msgspec.structs.replace(TURN, box=box),))
    if right:
        schema.check(record)
    else:
        with pytest.raises(ValueError, match="turn 7 has box"):
            schema.check(record)


def test_site_vector_is_one_number_a_fact():
    meta = '{"site":{"terrain":"mud","wind_ms":3.5,"indoor":false}}'
    site = dict(zip(schema.SITE_FACTS, schema.site_vector(meta), strict=True))
    assert {name: value for name, value in site.items() if not math.isnan(value)} == {
        **{f"terrain_{terrain}": float(terrain == "mud") for terrain in schema.TERRAINS},
        "wind_ms": 3.5,
        "indoor": 0.0,
    }


@pytest.mark.parametrize("meta", ["{}", '{"pair":"7"}', '{"note":"site"}', '{"site":null}'])
def test_a_record_without_a_site_has_nan_alone(meta):
    assert all(map(math.isnan, schema.site_vector(meta)))


def test_an_unknown_terrain_is_refused():
    with pytest.raises(ValueError, match="unknown terrain 'lava'; the terrains are floor, "):
        schema.site_vector('{"site":{"terrain":"lava"}}')


def test_the_columns_of_a_manifest_are_pinned():
    assert schema.SCHEMA_VERSION == 1
    assert " ".join(MANIFEST.names) == (
        "key corpus split group shard offset nbytes digest width height turns kinds licence pair "
        "evidence locator source_digest status error"
    )

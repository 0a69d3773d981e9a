"""What is protected by default, and how a user says more."""

import pytest

from manifests.place import url_group
from manifests.settings import SettingsError
from pipelines import corpora
from pipelines.protect import Listed, Protect


def test_evaluation_pictures_are_protected_unless_said_otherwise():
    protect, both = Protect(), (True, False)
    for place in (
        "coco/val",
        "aokvqa/val",
        "aokvqa/test",
        "gqa/val",
        "gqa/test",
        "cc3m/val",
        "ocrvqa/val",
    ):
        assert protect.guards(*place.split("/")) == both, place
    for corpus in ("refcoco", "refcoco_plus", "refcocog"):
        assert [protect.guards(corpus, s) for s in ("val", "test")] == [both, both]
    assert [protect.guards("robots", s) for s in ("val", "test")] == [both, both]
    assert [protect.guards(c, "val") for c in ("vqav2", "okvqa")] == [(False, True)] * 2
    assert [protect.guards(c, "train") for c in corpora.names()] == [(False, False)] * 14


def test_strict_protects_the_pictures_of_questions_too():
    strict = Protect(strict=True)
    assert strict.guards("vqav2", "val") == strict.guards("coco", "val") == (True, False)


@pytest.mark.parametrize(
    ("line", "listed"),
    [
        ("coco:000391895", Listed("coco:391895", None)),
        ("COCO_val2014_000000391895.jpg", Listed("coco:391895", None)),
        ("val2017/000000391895.jpg", Listed("coco:391895", None)),
        ("vg:n161313", Listed("vg:n161313", None)),
        ("https://x.org/a.jpg", Listed(url_group("https://x.org/a.jpg"), None)),
    ],
)
def test_a_list_names_pictures_as_people_do(tmp_path, line, listed):
    path = tmp_path / "list.txt"
    path.write_text(line + "\n")
    ((found, by),) = Protect(image=(str(path),), text=()).listed()
    assert (found, by) == (listed, "list.txt")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a question, not a picture", "'a question, not a picture' names no image; expected coco"),
        (b"nonsense\tWhat?", "'nonsense' before a tab names no image"),
        (b"coco:x1", "'coco:x1' names no image"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_list_that_names_none_is_refused(tmp_path, content, said):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=said):
        Protect(image=(str(path),), text=()).check(["coco"])


def test_a_list_that_is_not_there_is_refused():
    with pytest.raises(SettingsError, match="protect list ./nowhere.txt cannot be read"):
        Protect(image=(), text=("./nowhere.txt",)).check(["coco"])


def test_the_digest_follows_what_is_protected_not_how_it_is_written(tmp_path):
    one, two = tmp_path / "1.txt", tmp_path / "2.txt"
    one.write_text("coco:1\n")
    two.write_text("coco:1\n")
    first = Protect(image=("coco/val", "gqa/val", str(one))).digest
    assert first == Protect(image=(str(two), "gqa/val", "coco/val")).digest
    two.write_text("coco:2\n")
    others = [
        Protect(image=(str(two), "gqa/val", "coco/val")),
        Protect(image=("coco/val", "gqa/val", str(one)), strict=True),
        Protect(image=("coco/val", "gqa/val", str(one)), near_duplicates="off"),
        Protect(image=("coco/val", "gqa/val", str(one)), text=()),
    ]
    assert len({first, *(other.digest for other in others)}) == 5


def test_a_list_may_begin_with_a_byte_order_mark_and_spell_letters_in_parts(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes("\ufeffcoco:1\tIs it a cafe\u0301?\n".encode())
    ((found, _),) = Protect(image=(), text=(str(path),)).listed()
    assert found == Listed("coco:1", "Is it a caf\u00e9?")

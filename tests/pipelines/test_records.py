"""Records out of each format, and what becomes of those that are none."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.corpora import CorpusError
from pipelines.layouts.records import Picture, Record, find, records
from tests.pipelines.containers import write_tar


def read(path: Path, content: str | bytes = b"", image: str | None = None) -> list[Record]:
    if content:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(records(path, path.name, image))


def good(*fields: dict) -> list[Record]:
    return [Record(position, given, None) for position, given in enumerate(fields)]


def test_a_list_of_json_gives_its_items_and_says_which_are_no_records(tmp_path):
    assert read(tmp_path / "a.json", ' [{"a": 1}, {"b": [2]}]') == good({"a": 1}, {"b": [2]})
    first, second = read(tmp_path / "a.json", '[{"a": 1}, 7]')
    assert first == (0, {"a": 1}, None)
    assert second.error == "malformed annotation: 1 in a.json: Expected `object`, got `int`"


def test_a_dict_of_records_keeps_their_keys(tmp_path):
    assert read(tmp_path / "a.json", '{"007": {"a": 1}, "8": {"a": 2}}') == good(
        {"__key__": "007", "a": 1}, {"__key__": "8", "a": 2}
    )


def test_a_dict_with_one_list_inside_is_that_list(tmp_path):
    content = '{"info": {"year": 2014}, "data": [{"a": 1}], "version": 2}'
    assert read(tmp_path / "a.json", content) == good({"a": 1})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"images": [], "annotations": []}', "of which images, annotations is a list"),
        ('{"a": 1}', "a.json has a, of which none is a list; expected a list of records"),
        ("{}", "a.json has nothing"),
        ("[{]", "cannot be read: "),
        ("version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_json_of_another_shape_is_refused(tmp_path, content, message):
    with pytest.raises(CorpusError, match=message):
        read(tmp_path / "a.json", content)


def test_json_lines_may_have_blank_and_broken_ones(tmp_path):
    first, broken, last = read(tmp_path / "a.jsonl", '{"a": 1}\n\n{"a": \n{"a": 3}')
    assert (first, last) == ((0, {"a": 1}, None), (3, {"a": 3}, None))
    assert broken.position == 2
    assert broken.error and broken.error.startswith("malformed annotation: 2 in a.jsonl: Input")


def test_csv_has_quotes_and_a_byte_order_mark_and_lines_of_other_lengths(tmp_path):
    content = '\ufeffa,b\n1,"x, ""y""\nz"\n2\n\n3,w\n'
    assert read(tmp_path / "a.csv", content) == [
        Record(0, {"a": "1", "b": 'x, "y"\nz'}, None),
        Record(1, {}, "malformed annotation: 1 in a.csv: it has 1 values under 2 columns"),
        Record(3, {"a": "3", "b": "w"}, None),
    ]
    with pytest.raises(CorpusError, match="a.csv is not UTF-8"):
        read(tmp_path / "a.csv", b"a\n\xff\n")


def test_tsv_has_no_quotes(tmp_path):
    content = 'a\tb\n"pink\'s\tthe "best"\n'
    assert read(tmp_path / "a.tsv", content) == good({"a": "\"pink's", "b": 'the "best"'})


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_rows_give_the_place_of_their_picture_instead_of_its_bytes(tmp_path, suffix):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    given = [{"bytes": b"abc", "path": "x.jpg"}]
    table = pa.table({"a": ["t"], "image": pa.array(given, kind), "mask": pa.array([b"m"])})
    path = tmp_path / f"a{suffix}"
    if suffix == ".parquet":
        pq.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    (first,) = read(path)
    assert list(first.fields) == ["a", "image"]
    picture = first.fields["image"]
    assert picture.name == "x.jpg"
    if suffix == ".parquet":
        assert picture.locator == "parquet:a.parquet@0/0/image.bytes"
    else:
        offset, _, nbytes = picture.locator.rpartition("@")[2].partition("+")
        assert path.read_bytes()[int(offset) :][: int(nbytes)] == b"abc"
    assert list(read(path, image="mask")[0].fields) == ["a", "mask"]
    assert list(read(path, image="a")[0].fields) == ["a"], "pictures are elsewhere, by their paths"


def test_a_tar_s_records_are_its_json_and_text(tmp_path):
    write_tar(tmp_path / "a.tar", {"0.jpg": b"z", "0.json": b'{"a": 1}', "0.txt": b"t"})
    picture = Picture("range:a.tar@512+1", None)
    assert read(tmp_path / "a.tar") == good(
        {"a": 1, "caption": "t", "__key__": "0", "image": picture}
    )


def test_files_that_are_about_others_are_not_found(tmp_path):
    ours = ["a.csv", "b/c.JSON", "00000.tar", "00000.json", "d_stats.json", "e.parquet"]
    others = [
        *("00000.parquet", "00000_stats.json", "dataset_info.json", "state.json", "f.jpg"),
        *("cache-0123.arrow", ".hidden.json", "__MACOSX/._a.json", "g.incomplete/h.arrow"),
    ]
    for name in ours + others:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps({}))
    assert [path.relative_to(tmp_path).as_posix() for path in find(tmp_path)] == sorted(ours)
    assert find(tmp_path / "a.csv") == [tmp_path / "a.csv"]
    assert find(tmp_path / "f.jpg") == []

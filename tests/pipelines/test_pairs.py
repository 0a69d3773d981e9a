"""What all readers of containers share: names of records, and which files are looked at."""

import pytest

from pipelines.corpora import CorpusError, find_files, present
from pipelines.layouts.pairs import record_key


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("train-0003-000000012", "cc3m-train-0003-000000012"),
        ("x" * 85, "cc3m-" + "x" * 85),
        ("x" * 86, "cc3m-" + "x" * 76 + "-b38b6a9d"),
        ("a.b", "cc3m-a-b-e32b629f"),
        ("a b", "cc3m-a-b-0cc9cd4d"),
        ("é", "cc3m--66ddcd97"),
    ],
)
def test_a_key_fits_a_tar_and_keeps_apart_what_it_had_to_change(name, key):
    assert record_key("cc3m", name) == key
    assert len(key) <= 90


def test_hidden_and_unfinished_files_are_not_looked_at(tmp_path):
    for name in ("b/1.tar", "a.tar", ".hidden.tar", ".cache/2.tar", "x.incomplete/3.tar", "c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.tar").mkdir()
    assert find_files(tmp_path, "*.tar") == [tmp_path / "a.tar", tmp_path / "b/1.tar"]
    with pytest.raises(CorpusError, match=r"none does not exist; expected a folder with \*.tar"):
        find_files(tmp_path / "none", "*.tar")


def test_a_file_in_the_place_of_a_folder_is_called_one(tmp_path):
    (tmp_path / "here").write_text("")
    with pytest.raises(CorpusError, match=r"here is a file; expected a folder with \*.tar"):
        find_files(tmp_path / "here", "*.tar")
    with pytest.raises(CorpusError, match=r"here is a file; expected a folder with a.json"):
        present(tmp_path / "here", {"a.json": "a"})
    (tmp_path / "here").unlink()
    with pytest.raises(CorpusError, match=r"here does not exist; expected a folder with a.json"):
        present(tmp_path / "here", {"a.json": "a"})

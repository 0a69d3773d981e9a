"""RefCOCO+: as RefCOCO, but words of location were forbidden, so that looks must tell.

The authors' `refs(unc).p` with `instances.json`, or the files of Hugging Face (`refer.py`). The
authors call its folder `refcoco+`, which is taken where there is no `refcoco_plus`.
"""

from dataclasses import replace
from pathlib import Path

from pipelines.corpora import Folders, Layout, Survey
from pipelines.corpora.coco import picture_folders
from pipelines.layouts import refer

PATH = "refcoco_plus"
SPLITS = refer.SPLITS
LAYOUT: Layout = "hash"


def elsewhere(folders: Folders) -> tuple[Path, ...]:
    return (_theirs(folders), *picture_folders(folders))


def survey(folders: Folders) -> Survey:
    theirs = _theirs(folders)
    if theirs.is_dir() and not folders.path.exists():
        folders = replace(folders, path=theirs)
    return refer.survey(folders, PATH, "refs(unc).p", refer.UNC)


def _theirs(folders: Folders) -> Path:
    return folders.path.with_name("refcoco+")

"""RefCOCOg: longer expressions, whole phrases written at leisure.

The authors' `refs(umd).p` with `instances.json`, or the files of Hugging Face (`refer.py`).
`refs(google).p` is not read: it splits objects, so that train and val share images.
"""

from functools import partial

from pipelines.corpora import Layout
from pipelines.corpora.coco import picture_folders
from pipelines.layouts import refer

PATH = "refcocog"
SPLITS = refer.SPLITS
LAYOUT: Layout = "hash"
elsewhere = picture_folders
survey = partial(refer.survey, official=PATH, refs="refs(umd).p", evaluated=refer.UMD)

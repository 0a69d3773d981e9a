"""RefCOCO: short expressions from a game in which the partner had to click on the object meant.

The authors' `refs(unc).p` with `instances.json`, or the files of Hugging Face (`refer.py`). testA
has people, testB everything else. `refs(google).p` is not read: its splits share images.
"""

from functools import partial

from pipelines.corpora import Layout
from pipelines.corpora.coco import picture_folders
from pipelines.layouts import refer

PATH = "refcoco"
SPLITS = refer.SPLITS
LAYOUT: Layout = "hash"
elsewhere = picture_folders
survey = partial(refer.survey, official=PATH, refs="refs(unc).p", evaluated=refer.UNC)

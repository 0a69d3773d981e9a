"""OK-VQA: questions that ask for knowledge, ten answers each; the pictures are COCO's.

`okvqa/OpenEnded_mscoco_{train,val}2014_questions.json` and `mscoco_{..}_annotations.json`. `answer`
is stemmed ("race"), `raw_answer` is what was said ("racing"); there is no consensus, so the target
is the raw answer said most often, of two as common the one said first. All ten are kept.
"""

import msgspec

from manifests.schema import Split
from pipelines.corpora import Folders, Layout, Survey
from pipelines.corpora.coco import picture_folders
from pipelines.layouts.vqa_pairs import Annotation, Pairs

PATH = "okvqa"
SPLITS: dict[str, Split | None] = {"train2014": "train", "val2014": "val"}
LAYOUT: Layout = "hash"
elsewhere = picture_folders


class _Answer(msgspec.Struct):
    raw_answer: str


class _Annotation(Annotation):
    answers: list[_Answer]

    def given(self) -> list[str]:
        return [answer.raw_answer for answer in self.answers]

    def target(self, answers: tuple[str, ...]) -> str:
        return max(filter(None, answers), key=answers.count, default="")


_PAIRS = Pairs(
    questions="OpenEnded_mscoco_{}_questions.json",
    annotations="mscoco_{}_annotations.json",
    kind=_Annotation,
)


def survey(folders: Folders) -> Survey:
    return _PAIRS.survey(folders)

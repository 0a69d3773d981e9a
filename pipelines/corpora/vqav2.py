"""VQA v2: questions and ten answers each, joined by question_id; the pictures are COCO's.

`vqa/v2_OpenEnded_mscoco_{train,val}2014_questions.json` and `v2_mscoco_{..}_annotations.json`, with
the pictures where the corpus coco has them. The target is the consensus; all ten answers are kept.
"""

import msgspec

from manifests.schema import Split
from pipelines.corpora import Folders, Layout, Survey
from pipelines.corpora.coco import picture_folders
from pipelines.layouts.vqa_pairs import Annotation, Pairs
from pipelines.table import clean

PATH = "vqa"
SPLITS: dict[str, Split | None] = {"train2014": "train", "val2014": "val"}
LAYOUT: Layout = "hash"
elsewhere = picture_folders


class _Answer(msgspec.Struct):
    answer: str


class _Annotation(Annotation):
    multiple_choice_answer: str
    answers: list[_Answer]

    def given(self) -> list[str]:
        return [answer.answer for answer in self.answers]

    def target(self, answers: tuple[str, ...]) -> str:
        return clean(self.multiple_choice_answer)


_PAIRS = Pairs(
    questions="v2_OpenEnded_mscoco_{}_questions.json",
    annotations="v2_mscoco_{}_annotations.json",
    kind=_Annotation,
)


def survey(folders: Folders) -> Survey:
    return _PAIRS.survey(folders)

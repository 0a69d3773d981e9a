"""How far the set's language carries: a reader of words, fitted on it, judged on tasks that people
wrote without knowing how it is made.

The reader is plain (logistic regression on words and pairs of words, one for each robot), so that
what it gets right is what the words of the set have taught it.
"""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from manifests.place import split_of, task_group
from manifests.schema import ROBOTS
from pipelines.robots.dataset import FILES


def transfer(folder: Path, tasks: Path) -> dict[str, float]:
    """hit@1 on the one-robot tasks of a file: how often the likeliest robot is in the label; and
    what the best constant and a random choice get. Raises ValueError if the file has none."""
    train = [record for name in FILES.values() for record in _read(folder / name)]
    train = [r for r in train if split_of(task_group(r["input"])) == "train"]
    judged = [record for record in _read(tasks) if "subtasks" not in record]
    if not judged:
        raise ValueError(f"{tasks} has no task with an output alone")
    words = TfidfVectorizer(
        preprocessor=task_group,
        token_pattern=r"\S+",
        ngram_range=(1, 2),
        sublinear_tf=True,
        min_df=2,
    )
    known = words.fit_transform([record["input"] for record in train])
    asked = words.transform([record["input"] for record in judged])
    scores = np.column_stack([
        LogisticRegression(C=10, max_iter=500)
        .fit(known, [robot in _robots(record) for record in train])
        .decision_function(asked)
        for robot in ROBOTS
    ])  # fmt: skip
    labels = [_robots(record) for record in judged]
    chosen = [ROBOTS[place] for place in scores.argmax(1)]
    return {
        "tasks": len(judged),
        "hit_at_1": float(np.mean([r in label for r, label in zip(chosen, labels, strict=True)])),
        "best_constant": max(float(np.mean([r in label for label in labels])) for r in ROBOTS),
        "random": float(np.mean([len(label) / len(ROBOTS) for label in labels])),
    }


def _read(path: Path) -> list[dict[str, Any]]:
    return msgspec.json.decode(path.read_bytes(), type=list[dict[str, Any]])


def _robots(record: dict[str, Any]) -> list[str]:
    return record["output"].split(", ")

"""What is written with a cache is what would be written without."""

import pytest
import torch

from embervlm.answers import Answers, steps_of
from embervlm.config import ROBOTS, STEPS
from embervlm.model import EmberVLM
from embervlm.outputs import Decision


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def without_cache(model, ids: torch.Tensor, picture, most: int) -> list[int]:
    """The greedy continuation of one row, everything read anew for each token."""
    new: list[int] = []
    for _ in range(most):
        scores = model(ids, picture).logits[0, -1]
        scores[[model.config.pad_id, model.config.image_id]] = -torch.inf
        new.append(int(scores.argmax()))
        ids = torch.cat([ids, torch.tensor([new[-1:]])], dim=1)
    return new


ROWS = ("a I b c", "d e", "I f", "g I")


@pytest.fixture(scope="module")
def four(pictures) -> torch.Tensor:
    return torch.cat([pictures, pictures.flip(1)[:1]])


@pytest.fixture(scope="module")
def expected(model, ids_of, four) -> list[list[int]]:
    with torch.no_grad():
        pairs = enumerate(ROWS)
        return [without_cache(model, ids_of(row), four[n : n + 1], 12) for n, row in pairs]


def test_the_cache_changes_nothing(model, ids_of, four, expected) -> None:
    for number, row in enumerate(ROWS):
        assert model.generate(ids_of(row), four[number : number + 1], 12, -1) == [expected[number]]
    assert len({tuple(row) for row in expected}) == 4  # or anything would pass


@pytest.mark.parametrize(
    "rows",
    [
        ("a I b c", "d e . .", "I f . .", "g I . ."),
        ("a I b c", ". . d e", ". . I f", ". . g I"),
        (". a I b c .", "d e . . . .", ". . I f . .", ". . . . g I"),
    ],
)
def test_padding_on_either_side_changes_nothing(model, ids_of, four, expected, rows) -> None:
    ids = ids_of(*rows)
    assert model.generate(ids, four, 12, -1) == expected
    mask = (ids != model.config.pad_id).long()
    noise = torch.where(mask == 1, ids, torch.randint(0, 20, ids.shape))
    assert model.generate(noise, four, 12, -1, attention_mask=mask) == expected


def test_nothing_is_read_twice(model, ids_of, four, monkeypatch) -> None:
    seen: list[int] = []
    forward = type(model.language).forward

    def counted(self, embeddings, *rest, **more):
        seen.append(embeddings.shape[1])
        return forward(self, embeddings, *rest, **more)

    monkeypatch.setattr(type(model.language), "forward", counted)
    model.generate(ids_of(*ROWS[:1]), four[:1], 6, -1)
    assert seen == [4 + 48, 1, 1, 1, 1, 1]


def test_rows_end_each_at_their_own_stop(model, ids_of, four, expected) -> None:
    ids = ids_of("a I b c", "d e . .", "I f . .", "g I . .")

    def cut(row: list[int], *stops: int) -> list[int]:
        return row[: min([row.index(stop) for stop in stops if stop in row], default=len(row))]

    one, two = expected[0][2], expected[1][4]
    assert model.generate(ids, four, 12, one) == [cut(row, one) for row in expected]
    found = model.generate(ids, four, 12, (one, two))
    assert found == [cut(row, one, two) for row in expected]
    assert len(found[0]) <= 2 and len(found[1]) <= 4
    assert model.generate(ids, four, 0, -1) == [[], [], [], []]


def test_positions_run_out(model, small) -> None:
    long = torch.zeros(1, small.positions - 2, dtype=torch.long)
    assert len(model.generate(long, None, 10, eos_id=-1)[0]) == 2
    full = torch.zeros(1, small.positions, dtype=torch.long)
    assert model.generate(full, None, 10, eos_id=-1) == [[]]


def test_generation_leaves_the_model_as_it_was(small, ids_of, pictures) -> None:
    model = EmberVLM(small).train()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    model.generate(ids_of("a I"), pictures[:1], 2, eos_id=-1)
    model.generate_reasoning(pictures[:1], ids_of("a I R"), 2)
    assert model.training and model.encoder.training
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())


@pytest.mark.parametrize("row", ["I a b R S", "I a b R", "I a b"])
def test_a_reasoning_follows_robot_and_reasoning_start(model, ids_of, pictures, row) -> None:
    answers = model.generate_reasoning(pictures[:1], ids_of(row), 9)
    prompt = ids_of("I a b R S")
    assert answers[0].tolist() == model.generate(prompt, pictures[:1], 9, -1)[0]
    decided = model(prompt, pictures[:1])
    torch.testing.assert_close(answers.decision.robot_logits, decided.robot_logits)
    torch.testing.assert_close(answers.decision.plan_robots, decided.plan_robots)


def test_reasonings_of_a_padded_batch(model, ids_of, pictures) -> None:
    alone = [
        model.generate_reasoning(pictures[n : n + 1], ids_of(row), 6)
        for n, row in enumerate(("I a b R", "I c", "d e f"))
    ]
    for rows in (("I a b R", "I c . .", "d e f ."), ("I a b R", ". . I c", ". d e f")):
        together = model.generate_reasoning(pictures, ids_of(*rows), 6)
        assert len(together) == 3
        for number, answers in enumerate(alone):
            assert together[number].tolist() == answers[0].tolist()
            one, other = together.row(number), answers.row(0)
            assert one.pop("robot_probabilities") == pytest.approx(
                other.pop("robot_probabilities"), rel=1e-4
            )
            assert one.pop("confidence") == pytest.approx(other.pop("confidence"), rel=1e-4)
            assert one == other


@pytest.mark.parametrize("stop", ["reasoning_end_id", "end_id"])
def test_a_reasoning_ends_where_it_says_so(model, ids_of, pictures, stop, monkeypatch) -> None:
    ids = ids_of("I a b R S")
    whole = model.generate_reasoning(pictures[:1], ids, 9)[0].tolist()
    monkeypatch.setattr(type(model.config), stop, whole[4])
    ended = model.generate_reasoning(pictures[:1], ids, 9)[0].tolist()
    assert ended == whole[: whole.index(whole[4])]


def answers(plan: list[tuple[int, int]], logits: list[float], text: str) -> Answers:
    who, when = torch.zeros(1, 5, 6), torch.zeros(1, 5, 5)
    for step in range(5):
        robot, rank = plan[step] if step < len(plan) else (5, 0)
        who[0, step, robot], when[0, step, rank] = 1, 1
    none = torch.zeros(1)
    decision = Decision(torch.tensor([logits]), none, none, who, when, none)
    return Answers(torch.tensor([[1, 2]]), decision, ROBOTS, lambda ids: text)


TEXT = " ".join(f"{name}: this is {n}.\n" for n, name in enumerate(STEPS))


def test_one_robot_is_enough_where_the_plan_is_empty() -> None:
    found = answers([], [0.5, 2.0, 1.0, -1.0, 0.0], TEXT).row(0)
    assert found["selected_robot"] == "Underwater Robot"
    assert found["selected_robots"] == ["Underwater Robot"] and found["plan"] == []
    expected = torch.tensor([0.5, 2.0, 1.0, -1.0, 0.0]).softmax(0).tolist()
    assert list(found["robot_probabilities"]) == list(ROBOTS)
    assert list(found["robot_probabilities"].values()) == pytest.approx(expected)
    assert found["confidence"] == pytest.approx(max(expected))
    assert found["reasoning"] == [f"{name}: this is {n}." for n, name in enumerate(STEPS)]


def test_a_team_is_all_that_are_likely_and_its_plan() -> None:
    found = answers([(2, 0), (0, 1), (2, 1)], [0.5, -2.0, 1.0, -1.0, -3.0], "")
    assert found["selected_robots"] == [["Humanoid", "Drone"]]
    assert found["plan"] == [[("Humanoid", 0), ("Drone", 1), ("Humanoid", 1)]]
    assert found["confidence"] == [pytest.approx(torch.tensor(1.0).sigmoid().item())]
    assert found["reasoning"] == [["", "", "", ""]]
    nobody = answers([(2, 0)], [-1.0, -2.0, -3.0, -4.0, -5.0], "")
    assert nobody["selected_robots"] == [["Drone"]]  # somebody goes
    with pytest.raises(KeyError, match="there are selected_robot, "):
        found["robots"]
    assert found[0].tolist() == [1, 2] and len(found) == 1


def test_steps_are_found_by_their_headings() -> None:
    assert steps_of("") == steps_of("So: Drone.") == [""] * 4
    text = "task analysis: one. Decision justification: a: b.\nTask analysis: two."
    assert steps_of(text) == ["task analysis: one.", "", "", "Decision justification: a: b."]

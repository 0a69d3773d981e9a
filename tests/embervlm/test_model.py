"""The forward pass: what is seen, by whom, and what follows from it."""

import re

import pytest
import torch

from embervlm import losses
from embervlm.config import COMPONENTS, EmberVLMConfig
from embervlm.model import EmberVLM

N = 49


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.fixture(autouse=True)
def _no_grad_by_default(request):
    with torch.set_grad_enabled("gradient" in request.node.name):
        yield


def test_image_is_spliced_in_place(model, ids_of, pictures) -> None:
    ids = ids_of("a b I c d", "I e f g h", "k l m n I")
    out = model(ids, pictures)
    visual, wte = model.look(pictures), model.language.wte
    for row, p in enumerate((2, 0, 4)):
        by_hand = torch.cat([wte(ids[row, :p]), visual[row], wte(ids[row, p + 1 :])])
        hidden = model.language(by_hand[None])[0]
        kept = [*range(p), *range(p + N - 1, p + N - 1 + 5 - p)]
        assert len(kept) == 5
        close(out.hidden[row], hidden[kept])
        close(out.logits[row], model.language.logits(hidden[kept]))
    assert out["robot_logits"].shape == (3, 5)
    assert out.steps.shape == (3, 4, 48)
    with pytest.raises(KeyError):
        out["nothing"]


def test_pictures_tell(model, ids_of, pictures) -> None:
    ids = ids_of("a I b", "a I b")
    out = model(ids, pictures[:2])
    assert (out.hidden[0, 0] - out.hidden[1, 0]).abs().max() < 1e-5  # before the picture
    assert (out.hidden[0, 2] - out.hidden[1, 2]).abs().max() > 1e-3


def test_rows_without_an_image(model, ids_of, pictures) -> None:
    ids = ids_of("a b I c R e", "a b c d R f")
    alone = model(ids[1:])
    mixed = model(ids, pictures[:2])
    close(mixed.hidden[1], alone.hidden[0])
    close(mixed.robot_logits[1], alone.robot_logits[0])
    close(mixed.hidden[0], model(ids[:1], pictures[:1]).hidden[0])
    # Without <robot> too: decided from what is there, not from the other row's 48 more positions.
    plain = ids_of("a b I c d e", "a b c d e f")
    close(model(plain, pictures[:2]).robot_logits[1], model(plain[1:]).robot_logits[0])
    # has_image False: the picture of that row is not seen, `<image>` is one zero embedding.
    hidden = model(ids[:1], pictures[:1], has_image=torch.tensor([False]))
    close(hidden.hidden, model(ids[:1], pictures[1:2], has_image=torch.tensor([False])).hidden)
    by_hand = model.language.wte(ids[:1]).clone()
    by_hand[0, 2] = 0
    close(hidden.hidden, model.language(by_hand))
    close(hidden.hidden, model(ids[:1]).hidden)


def test_padding_is_never_attended(model, ids_of, pictures) -> None:
    ids = ids_of("a I b R", "a I b R")
    plain = model(ids, pictures[:2])
    for before, after in ((0, 3), (2, 0), (2, 3)):
        pads = torch.randint(0, 20, (2, before + 4 + after))  # any token at all
        pads[:, before : before + 4] = ids
        mask = torch.zeros_like(pads)
        mask[:, before : before + 4] = 1
        out = model(pads, pictures[:2], attention_mask=mask)
        close(out.hidden[:, before : before + 4], plain.hidden)
        close(out.robot_logits, plain.robot_logits)
        assert out.hidden.isfinite().all()


@pytest.mark.parametrize("image", [True, False])
def test_packed_threads_equal_threads_alone(model, ids_of, pictures, image) -> None:
    prefix, threads = ("a I b" if image else "a b"), ("c d e", "f g R h", "k", "l m n R")
    ids = ids_of(" ".join((prefix, *threads, ". .")), " ".join((prefix, *threads, "q r")))
    start = len(prefix.split())
    thread = [0] * start + [k for k, t in enumerate(threads, 1) for _ in t.split()] + [0, 0]
    seen = pictures[:2] if image else None
    packed = model(ids, seen, thread=torch.tensor([thread, thread]))
    at = start
    for text in threads:
        alone = model(ids_of(f"{prefix} {text}"), pictures[:1] if image else None)
        close(packed.hidden[0, :start], alone.hidden[0, :start])
        close(packed.hidden[0, at : at + len(text.split())], alone.hidden[0, start:])
        at += len(text.split())
    close(packed.robot_logits[0], alone.robot_logits[0])  # of the last thread with a <robot>
    # And without the thread mask they would differ.
    plain = model(ids, seen)
    assert (plain.hidden[0, start + 3 :] - packed.hidden[0, start + 3 :]).abs().max() > 1e-2


@pytest.mark.parametrize("masked", [True, False])
def test_robots_never_see_the_answer(model, ids_of, pictures, masked) -> None:
    ids = ids_of("I a b R c d e", "I f g h R k l")
    changed = ids_of("I a b R m n o", "I f g h R p q")
    mask = torch.ones_like(ids) if masked else None
    one, other = (model(i, pictures[:2], attention_mask=mask) for i in (ids, changed))
    assert torch.equal(one.robot_logits, other.robot_logits)
    assert not torch.equal(one.hidden[:, -1], other.hidden[:, -1])
    earlier = model(ids_of("I a z R c d e", "I f z h R k l"), pictures[:2], mask)
    assert (one.robot_logits - earlier.robot_logits).abs().min() > 0
    cut = model(ids_of("I a b R"), pictures[:1])
    close(one.robot_logits[0], cut.robot_logits[0])


def test_no_gradient_reaches_the_answer(model, ids_of, pictures) -> None:
    ids = ids_of("I a b R c d e")
    caught = []
    hook = model.language.wte.register_forward_hook(lambda *args: caught.append(args[2]))
    out = model(ids, pictures[:1])
    hook.remove()
    (grad,) = torch.autograd.grad(out.robot_logits.square().sum(), caught)
    assert not grad[0, 4:].any()
    assert grad[0, 1:4].abs().sum(1).min() > 0


def gradients(model: EmberVLM, ids, pixels, mask) -> dict[str, torch.Tensor]:
    """Of a loss over the words and the robots of ids, as they stand where mask is 1."""
    model.zero_grad()
    out = model(ids, pixels, mask, return_reasoning=True)
    assert out.read_logits is not None
    decided = (out.robot_logits, out.read_logits, out.plan_robots, out.plan_orders)
    words = out.hidden[mask.bool()].view(len(ids), -1, out.hidden.shape[2])
    (words.square().mean() + sum(part.square().sum() for part in decided)).backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def test_no_gradient_depends_on_padding(model, ids_of, pictures) -> None:
    ids = ids_of("a I b R S c E d", "e I f R S g E h")
    expected = gradients(model, ids, pictures[:2], torch.ones_like(ids))
    for before, after in ((0, 3), (2, 0), (2, 3)):
        pads = torch.randint(0, 20, (2, before + 8 + after))
        mask = torch.zeros_like(pads)
        pads[:, before : before + 8], mask[:, before : before + 8] = ids, 1
        found = gradients(model, pads, pictures[:2], mask)
        assert found.keys() == expected.keys()
        for name, grad in found.items():
            scale = float(expected[name].abs().max())
            torch.testing.assert_close(grad, expected[name], atol=1e-4 * scale, rtol=1e-3)


def test_every_parameter_gets_a_gradient(ids_of, pictures) -> None:
    torch.manual_seed(0)
    config = EmberVLMConfig.preset("compact")
    model = EmberVLM(config).train()
    for name, parameter in model.encoder.named_parameters():
        if not parameter.any() and name.endswith("bn.weight"):
            torch.nn.init.ones_(parameter)  # RepViT starts some branches switched off
    ids = ids_of("I a b c R S d E", "I f g R h k . .")
    labels = torch.full_like(ids, -100)
    labels[0, 5:], labels[1, 4:6] = ids[0, 5:], ids[1, 4:6]
    out = model(ids, pictures[:2], return_reasoning=True, caption_at=torch.tensor([3, 5]))
    assert out.embeddings is not None and out.read_logits is not None and out.written is not None
    single, group = torch.tensor([True, False]), torch.arange(2)
    robots = torch.tensor([[1.0, 0, 0, 0, 0], [0, 1, 1, 0, 0]])
    steps = torch.full((2, 5, 2), -1)
    steps[1, :3] = torch.tensor([[1, 1], [2, 1], [1, 2]])
    seen, read, there, temperature = out.embeddings
    found = (
        losses.next_token(out.hidden, out.head, labels),
        losses.robot(out.robot_logits, robots, single),
        losses.plan(out.plan_robots, out.plan_orders, steps, robots.any(1)),
        losses.consistency(out.read_logits, out.robot_logits, single, out.written),
        losses.contrastive(seen, read, temperature, group, there),
    )
    assert [int(loss.count) for loss in found] == [5, 2, 2, 1, 2]
    torch.stack([loss.total / loss.count for loss in found]).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_nothing_waits_for_the_device(small) -> None:
    # A meta tensor has no values: whatever asks for one (a shape, a branch, .item()) raises.
    with torch.device("meta"):
        model = EmberVLM(small)
        ids = torch.zeros(4, 12, dtype=torch.long)
        pixels = torch.zeros(4, 3, 224, 224, dtype=torch.uint8)
        some, rows, at = torch.ones(4, dtype=torch.bool), torch.zeros(4, 5), ids[:, 0]
        every = {"has_image": some, "thread": torch.zeros_like(ids), "caption_at": at}
        for out in (
            model(ids),
            model(ids, pixels),
            model(ids, pixels, torch.ones_like(ids), True, **every),
        ):
            assert out.hidden.shape == (4, 12, 48)
            losses.next_token(out.hidden, out.head, ids, at_most=20)
            losses.distil(out.hidden, out.head, out.logits, ids, at_most=20)
            losses.robot(out.robot_logits, rows, some)
            steps = torch.zeros(4, 5, 2, dtype=torch.long)
            losses.plan(out.plan_robots, out.plan_orders, steps, some)
        losses.consistency(out.read_logits, out.robot_logits, some, out.written)
        with pytest.raises(NotImplementedError, match="nonzero"):
            losses.next_token(out.hidden, out.head, ids)  # which is what `at_most` is for


def test_one_graph(model, ids_of, pictures) -> None:
    ids = ids_of("I a R S b E", "I c R d . .")
    every = {
        "return_reasoning": True,
        "has_image": torch.tensor([True, False]),
        "thread": torch.tensor([[0, 1, 1, 1, 2, 2]] * 2),
        "caption_at": torch.tensor([1, -1]),
    }
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    for asked in ({}, {"pixel_values": pictures[:2], **every}):
        expected, found = (call(ids, **asked) for call in (model, compiled))
        for name, value in vars(expected).items():
            if isinstance(value, torch.Tensor):
                close(getattr(found, name), value)


def test_half_precision_is_near(model, ids_of, pictures) -> None:
    ids, at = ids_of("I a b R S c E"), torch.tensor([2])
    full = model(ids, pictures[:1], torch.ones_like(ids), True, caption_at=at)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(ids, pictures[:1], torch.ones_like(ids), True, caption_at=at)
        new = model.generate(ids[:, :4], pictures[:1], 5, eos_id=-1)
    for name in ("hidden", "robot_logits", "read_logits", "plan_robots", "plan_orders"):
        one, other = getattr(half, name).float(), getattr(full, name)
        assert (one - other).norm() < 0.1 * other.norm(), name
    assert half.embeddings.image.dtype == torch.float32
    assert (half.embeddings.text * full.embeddings.text).sum() > 0.99
    assert [len(row) for row in new] == [5]


def test_language_alone_is_the_same_without_robots(model, ids_of, pictures) -> None:
    ids, at = ids_of("I a b R c", "I d e . ."), torch.tensor([2, -1])
    text = model.forward_language(ids, pictures[:2], caption_at=at)
    whole = model(ids, pictures[:2], caption_at=at)
    assert torch.equal(text.hidden, whole.hidden) and torch.equal(text.logits, whole["logits"])
    assert torch.equal(text.embeddings.text, whole.embeddings.text)
    with pytest.raises(KeyError, match="robot_logits"):
        text["robot_logits"]


def test_vision_only(model, pictures) -> None:
    decision = model.forward_vision_only(pictures)
    steps, _ = model.reasoning(model.fusion(model.look(pictures)), model.plan_head.slots)
    assert decision.robot_logits.shape == (3, 5)
    close(decision.robot_logits, model.robot_head(steps).mean(1))
    assert (decision.robot_logits[0] - decision.robot_logits[1]).abs().max() > 1e-6


def test_too_long(model, small, pictures) -> None:
    ids = torch.zeros(1, small.positions - N + 1, dtype=torch.long)
    assert model(ids, pictures[:1]).hidden.shape[1] == small.positions - N + 1
    longer = torch.zeros(1, small.positions - N + 2, dtype=torch.long)
    said = "161 tokens (113 given, with 49 visual tokens in place of <image>); the model has 160 "
    for ask in (
        lambda: model(longer, pictures[:1]),
        lambda: model(longer, pictures[:1], torch.ones_like(longer)),
        lambda: model.generate(longer, pictures[:1], 4, eos_id=-1),
    ):
        with pytest.raises(ValueError, match=re.escape(f"{said}positions, so at most 112 fit")):
            ask()
    with pytest.raises(ValueError, match=r"161 tokens \(161 given\);.* at most 160 fit"):
        model(torch.zeros(1, small.positions + 1, dtype=torch.long))


def test_counts() -> None:
    with torch.device("meta"):
        flagship = EmberVLM(EmberVLMConfig.preset("flagship"))
        compact = EmberVLM(EmberVLMConfig.preset("compact"))
    counts = flagship.num_parameters()
    assert counts == {
        "vision encoder": 4_717_792,
        "projection": 296_448,
        "token embeddings": 19_300_608,
        "positions": 393_216,
        "language layers": 10_647_552,
        "fusion": 1_777_536,
        "robot head": 1_925,
        "reasoning": 3_551_232,
        "plan head": 6_155,
        "contrast": 98_561,
        "total": 40_791_025,
    }
    assert counts["total"] == sum(v for k, v in counts.items() if k != "total")
    assert counts["total"] == sum(p.numel() for p in flagship.parameters())
    assert compact.num_parameters()["total"] == 23_063_281
    assert tuple(name for name, _ in compact.named_children()) == COMPONENTS

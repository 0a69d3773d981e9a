import pytest
import torch
from safetensors.torch import load_file, save_file

from embervlm.config import EmberVLMConfig
from embervlm.losses import next_token, robot
from embervlm.model import EmberVLM

N = 49


def ids_of(config: EmberVLMConfig, *rows: str) -> torch.Tensor:
    """'a b I c R .' -> ids: letters stand for themselves, I = <image>, R = <robot>, . = <pad>."""
    special = {"I": config.image_id, "R": config.robot_id, ".": config.pad_id}
    return torch.tensor([[special.get(c, ord(c) - ord("a")) for c in r.split()] for r in rows])


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.fixture(autouse=True)
def _no_grad_by_default(request):
    with torch.set_grad_enabled("gradient" in request.node.name):
        yield


def test_image_is_spliced_in_place(model, small, pictures) -> None:
    ids = ids_of(small, "a b I c d", "I e f g h", "k l m n I")
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


def test_pictures_tell(model, small, pictures) -> None:
    ids = ids_of(small, "a I b", "a I b")
    out = model(ids, pictures[:2])
    assert (out.hidden[0, 0] - out.hidden[1, 0]).abs().max() < 1e-5  # before the picture
    assert (out.hidden[0, 2] - out.hidden[1, 2]).abs().max() > 1e-3


def test_rows_without_an_image(model, small, pictures) -> None:
    ids = ids_of(small, "a b I c R e", "a b c d R f")
    alone = model(ids[1:])
    mixed = model(ids, pictures[:2])
    close(mixed.hidden[1], alone.hidden[0])
    close(mixed.robot_logits[1], alone.robot_logits[0])
    close(mixed.hidden[0], model(ids[:1], pictures[:1]).hidden[0])
    # Without <robot> too: decided from what is there, not from the other row's 48 more positions.
    plain = ids_of(small, "a b I c d e", "a b c d e f")
    close(model(plain, pictures[:2]).robot_logits[1], model(plain[1:]).robot_logits[0])
    # has_image False: the picture of that row is not seen, `<image>` is one zero embedding.
    hidden = model(ids[:1], pictures[:1], has_image=torch.tensor([False]))
    close(hidden.hidden, model(ids[:1], pictures[1:2], has_image=torch.tensor([False])).hidden)
    by_hand = model.language.wte(ids[:1]).clone()
    by_hand[0, 2] = 0
    close(hidden.hidden, model.language(by_hand))
    close(hidden.hidden, model(ids[:1]).hidden)


def test_padding_is_never_attended(model, small, pictures) -> None:
    ids = ids_of(small, "a I b R", "a I b R")
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
def test_packed_threads_equal_threads_alone(model, small, pictures, image) -> None:
    prefix, threads = ("a I b" if image else "a b"), ("c d e", "f g R h", "k", "l m n R")
    ids = ids_of(small, " ".join((prefix, *threads, ". .")), " ".join((prefix, *threads, "q r")))
    start = len(prefix.split())
    thread = [0] * start + [k for k, t in enumerate(threads, 1) for _ in t.split()] + [0, 0]
    seen = pictures[:2] if image else None
    packed = model(ids, seen, thread=torch.tensor([thread, thread]))
    at = start
    for text in threads:
        alone = model(ids_of(small, f"{prefix} {text}"), pictures[:1] if image else None)
        close(packed.hidden[0, :start], alone.hidden[0, :start])
        close(packed.hidden[0, at : at + len(text.split())], alone.hidden[0, start:])
        at += len(text.split())
    close(packed.robot_logits[0], alone.robot_logits[0])  # of the last thread with a <robot>
    # And without the thread mask they would differ.
    plain = model(ids, seen)
    assert (plain.hidden[0, start + 3 :] - packed.hidden[0, start + 3 :]).abs().max() > 1e-2


@pytest.mark.parametrize("masked", [True, False])
def test_robots_never_see_the_answer(model, small, pictures, masked) -> None:
    ids = ids_of(small, "I a b R c d e", "I f g h R k l")
    changed = ids_of(small, "I a b R m n o", "I f g h R p q")
    mask = torch.ones_like(ids) if masked else None
    one, other = (model(i, pictures[:2], attention_mask=mask) for i in (ids, changed))
    assert torch.equal(one.robot_logits, other.robot_logits)
    assert not torch.equal(one.hidden[:, -1], other.hidden[:, -1])
    earlier = model(ids_of(small, "I a z R c d e", "I f z h R k l"), pictures[:2], mask)
    assert (one.robot_logits - earlier.robot_logits).abs().min() > 0
    cut = model(ids_of(small, "I a b R"), pictures[:1])
    close(one.robot_logits[0], cut.robot_logits[0])


def test_no_gradient_reaches_the_answer(model, small, pictures) -> None:
    ids = ids_of(small, "I a b R c d e")
    caught = []
    hook = model.language.wte.register_forward_hook(lambda *args: caught.append(args[2]))
    out = model(ids, pictures[:1])
    hook.remove()
    (grad,) = torch.autograd.grad(out.robot_logits.square().sum(), caught)
    assert not grad[0, 4:].any()
    assert grad[0, 1:4].abs().sum(1).min() > 0


def test_every_parameter_gets_a_gradient(pictures) -> None:
    torch.manual_seed(0)
    config = EmberVLMConfig.preset("compact")
    model = EmberVLM(config).train()
    for name, parameter in model.encoder.named_parameters():
        if not parameter.any() and name.endswith("bn.weight"):
            torch.nn.init.ones_(parameter)  # RepViT starts some branches switched off
    ids = ids_of(config, "I a b c R d e", "I f g R h k .")
    labels = torch.full_like(ids, -100)
    labels[0, 5:], labels[1, 4:6] = ids[0, 5:], ids[1, 4:6]
    out = model(ids, pictures[:2])
    words = next_token(out.hidden, out.head, labels)
    robots = torch.tensor([[1.0, 0, 0, 0, 0], [0, 1, 1, 0, 0]])
    teams = robot(out.robot_logits, robots, torch.tensor([True, False]))
    (words.total / words.count + teams.total / teams.count).backward()
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
        some = torch.ones(4, dtype=torch.bool)
        for out in (
            model(ids),
            model(ids, pixels),
            model(ids, pixels, torch.ones_like(ids), some, torch.zeros_like(ids)),
        ):
            assert out.hidden.shape == (4, 12, 48)
            next_token(out.hidden, out.head, ids, at_most=20)
            robot(out.robot_logits, torch.zeros(4, 5), some)
        with pytest.raises(NotImplementedError, match="nonzero"):
            next_token(out.hidden, out.head, ids)  # which is what `at_most` is for


def test_vision_only(model, pictures) -> None:
    decision = model.forward_vision_only(pictures)
    assert decision.robot_logits.shape == (3, 5)
    close(
        decision.robot_logits, model.robot_head(model.reasoning(model.fusion(model.look(pictures))))
    )
    assert (decision.robot_logits[0] - decision.robot_logits[1]).abs().max() > 1e-6


def test_too_long(model, small, pictures) -> None:
    ids = torch.zeros(1, small.positions - N + 1, dtype=torch.long)
    assert model(ids, pictures[:1]).hidden.shape[1] == small.positions - N + 1
    with pytest.raises(ValueError, match="161 tokens; the model has 160 positions"):
        model(torch.zeros(1, small.positions - N + 2, dtype=torch.long), pictures[:1])


def test_counts() -> None:
    with torch.device("meta"):
        flagship = EmberVLM(EmberVLMConfig.preset("flagship", encoder_frozen=False))
        compact = EmberVLM(EmberVLMConfig.preset("compact"))
    counts = flagship.num_parameters()
    assert counts == {
        "vision encoder": 4_717_792,
        "projection": 296_448,
        "token embeddings": 19_300_608,
        "positions": 393_216,
        "language layers": 10_647_552,
        "fusion": 1_777_536,
        "reasoning": 3_551_232,
        "robot head": 1_925,
        "total": 40_686_309,
    }
    assert counts["total"] == sum(v for k, v in counts.items() if k != "total")
    assert counts["total"] - counts["reasoning"] == 37_135_077
    assert compact.num_parameters()["total"] == 22_958_565


def test_generate_is_the_argmax_of_forward(model, small, pictures) -> None:
    rows = ids_of(small, "a I b c", "d e . .", "I f . .")
    new = model.generate(rows, pictures, 6, eos_id=-1)
    assert [len(row) for row in new] == [6, 6, 6]
    for row, length in enumerate((4, 2, 2)):
        ids = rows[row : row + 1, :length]
        for token in new[row]:
            scores = model(ids, pictures[row : row + 1]).logits[0, -1]
            scores[[small.pad_id, small.image_id]] = -torch.inf
            assert scores.argmax() == token
            ids = torch.cat([ids, torch.tensor([[token]])], dim=1)
    first = new[0][2]
    ended = model.generate(rows, pictures, 6, eos_id=first)
    for row, whole in zip(ended, new, strict=True):
        assert row == (whole[: whole.index(first)] if first in whole else whole)
    assert model.generate(rows[1:2], None, 1, eos_id=-1)[0] == new[1][:1]
    long = torch.zeros(1, small.positions - 2, dtype=torch.long)
    assert len(model.generate(long, None, 10, eos_id=-1)[0]) == 2


def test_generate_leaves_the_model_as_it_was(small, pictures) -> None:
    model = EmberVLM(small).train()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    model.generate(ids_of(small, "a I"), pictures[:1], 2, eos_id=-1)
    assert model.training and model.encoder.training
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())


def test_save_and_load(model, small, pictures, tmp_path) -> None:
    model.save_pretrained(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    tensors = load_file(tmp_path / "model.safetensors")
    assert sum(t.shape == (small.vocab_size, small.width) for t in tensors.values()) == 1
    again = EmberVLM.from_pretrained(tmp_path).eval()
    ids = ids_of(small, "a I b R")
    one, other = model(ids, pictures[:1]), again(ids, pictures[:1])
    assert again.config == model.config
    assert torch.equal(one.logits, other.logits)
    assert torch.equal(one.robot_logits, other.robot_logits)

    del tensors["fusion.queries"]
    tensors["language.wpe.weight"] = torch.zeros(3, 48)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"fusion\.queries is missing; language\.wpe\.weight has"):
        EmberVLM.from_pretrained(tmp_path)


def test_a_trained_encoder_may_be_frozen_after_loading(model, small, tmp_path) -> None:
    model.save_pretrained(tmp_path / "trained")
    frozen = EmberVLM.from_pretrained(tmp_path / "trained", encoder_frozen=True)
    assert frozen.encoder.frozen and frozen.config.encoder_frozen
    frozen.save_pretrained(tmp_path / "frozen")
    assert EmberVLM.from_pretrained(tmp_path / "frozen").encoder.frozen
    state = frozen.state_dict()
    assert EmberVLM.from_state(frozen.config, state).encoder.frozen
    EmberVLM(small).save_pretrained(tmp_path / "random")
    with pytest.raises(ValueError, match="must not be frozen"):
        EmberVLM.from_pretrained(tmp_path / "random", encoder_frozen=True)

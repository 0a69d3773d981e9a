"""Pictures and captions in one space; the caption has not seen the picture."""

import math

import pytest
import torch


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def embeddings(model, ids, pictures, at, **more):
    return model(ids, pictures, caption_at=torch.tensor(at), **more).embeddings


def test_embeddings_are_of_length_one(model, ids_of, pictures) -> None:
    found = embeddings(model, ids_of("I a b", "I c .", "I . ."), pictures, [2, 1, -1])
    assert found.image.shape == found.text.shape == (3, 128)
    torch.testing.assert_close(found.image.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(found.text.norm(dim=1), torch.ones(3))
    assert found.there.tolist() == [True, True, False]
    assert float(found.log_temperature.exp()) == pytest.approx(0.07)
    assert found.log_temperature is model.contrast.log_temperature


def test_a_picture_s_is_of_its_visual_tokens_alone(model, ids_of, pictures) -> None:
    one = embeddings(model, ids_of("I a b"), pictures[:1], [2])
    other = embeddings(model, ids_of("I c d"), pictures[:1], [2])
    assert torch.equal(one.image, other.image)
    pooled = model.contrast.image(model.look(pictures[:1]).mean(1))
    torch.testing.assert_close(one.image, pooled / pooled.norm())


def test_a_caption_s_is_of_its_words_alone(model, ids_of, pictures) -> None:
    ids = ids_of("I a b c d")
    one = embeddings(model, ids, pictures[:1], [2])
    assert torch.equal(one.text, embeddings(model, ids, pictures[1:2], [2]).text)
    longer = embeddings(model, ids_of("I a b e f"), pictures[:1], [2])  # what comes after it
    torch.testing.assert_close(longer.text, one.text, atol=1e-6, rtol=1e-5)
    for words in ("I e b c d", "I a e c d"):
        other = embeddings(model, ids_of(words), pictures[:1], [2])
        assert (other.text - one.text).abs().max() > 1e-3


def test_a_caption_in_a_thread_reads_no_other_thread(model, ids_of, pictures) -> None:
    threads = torch.tensor([[0, 1, 1, 2, 2]])
    alone = embeddings(model, ids_of("I c d"), pictures[:1], [2])
    packed = embeddings(model, ids_of("I a b c d"), pictures[:1], [4], thread=threads)
    torch.testing.assert_close(packed.text, alone.text, atol=1e-6, rtol=1e-5)


def test_a_row_without_its_picture_is_not_there(model, ids_of, pictures) -> None:
    has = torch.tensor([True, False])
    found = embeddings(model, ids_of("I a b", "I c d"), pictures[:2], [2, 2], has_image=has)
    assert found.there.tolist() == [True, False]
    assert model(ids_of("I a b"), pictures[:1]).embeddings is None
    with pytest.raises(ValueError, match="none were given"):
        model(ids_of("I a b"), caption_at=torch.tensor([2]))


def test_temperature_starts_where_clip_s_does(model) -> None:
    assert float(model.contrast.log_temperature) == pytest.approx(math.log(0.07))
    assert "contrast.log_temperature" in dict(model.named_parameters())

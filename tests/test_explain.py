from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from inbedder_retrieval import CheckpointError, Embedder, InputError, Recipe
from inbedder_retrieval.checkpoint import PACKAGED_MODELS, find_checkpoint
from inbedder_retrieval.explain import WordHead
from inbedder_retrieval.weights import Weights

ANGRY = "I am furious!! Third time you lost my parcel. Worst company ever, I want to scream."


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint to change."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "copy"))


def head_of(folder: Path, logits: dict[str, float]) -> tuple[WordHead, NDArray[np.float64]]:
    """Write a head that gives the vector (0.2, 0, ...) these logits, and all other pieces 0.

    Returns it with the softmax over the vocabulary, whose ids are those of `tokenizer.json`.
    """
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    embeddings = np.zeros((len(vocabulary), 32), dtype=np.float32)
    for piece, logit in logits.items():
        embeddings[vocabulary[piece], 0] = logit
    tensors = {
        "bert.embeddings.word_embeddings.weight": embeddings,
        "cls.predictions.bias": np.zeros(len(vocabulary), dtype=np.float32),
    }
    save_file(tensors, folder / "model.safetensors")
    # The recipe's answer_norm is 5, so the vector is one unit long on its way to the words.
    powers = np.exp(embeddings[:, 0].astype(np.float64))
    return WordHead(find_checkpoint(folder)), powers / powers.sum()


def spoken(head: WordHead, *, top: int) -> dict[str, float]:
    [answers] = head.words(0.2 * np.eye(1, 32), top=top)
    assert [a.weight for a in answers] == sorted((a.weight for a in answers), reverse=True)
    return {answer.word: answer.weight for answer in answers}


def share(folder: Path, shares: NDArray[np.float64], *pieces: str) -> float:
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    return float(sum(shares[vocabulary[piece]] for piece in pieces))


def test_a_words_weight_is_its_share_of_the_softmax(folder: Path) -> None:
    head, shares = head_of(folder, {"refund": 11, "customer": 10.5, "7": 10})
    assert spoken(head, top=3) == {
        "refund": pytest.approx(share(folder, shares, "refund"), rel=1e-5),
        "customer": pytest.approx(share(folder, shares, "customer"), rel=1e-5),
        "7": pytest.approx(share(folder, shares, "7"), rel=1e-5),
    }


def test_stop_words_fragments_and_punctuation_are_left_out(folder: Path) -> None:
    unspoken = {"the": 14.0, "how": 14, "?": 13, "a": 13, "##b": 13, "[MASK]": 14, "[UNK]": 14}
    head, _ = head_of(folder, {**unspoken, "refund": 10, "phone": 9})
    assert list(spoken(head, top=2)) == ["refund", "phone"]


def test_pieces_of_a_known_word_are_joined(folder: Path) -> None:
    head, shares = head_of(folder, {"head": 10, "##phones": 9.5, "refund": 10.2})
    found = spoken(head, top=2)
    assert list(found) == ["headphones", "refund"]
    joined = share(folder, shares, "head", "##phones")
    assert found["headphones"] == pytest.approx(joined, rel=1e-5)


def test_pieces_of_unlike_weight_are_two_answers(folder: Path) -> None:
    """A fragment without its beginning is no word; e to the 1.2 is more than three."""
    head, _ = head_of(folder, {"head": 10, "##phones": 8.8, "refund": 9})
    assert list(spoken(head, top=2)) == ["head", "refund"]


def test_a_piece_that_comes_twice_in_a_word_counts_once(folder: Path) -> None:
    """`absences` is spelled a ##b ##s ##e ##n ##c ##e ##s."""
    pieces = ["a", "##b", "##s", "##e", "##n", "##c"]
    head, shares = head_of(folder, dict.fromkeys(pieces, 10.0))
    joined = share(folder, shares, *pieces)
    assert spoken(head, top=1) == {"absences": pytest.approx(joined, rel=1e-5)}


def test_the_packaged_models_words_are_its_heads_softmax(packaged: Embedder) -> None:
    folder = PACKAGED_MODELS / "inbedder-minilm"
    tensors = load_file(folder / "model.safetensors")
    words = tensors["bert.embeddings.word_embeddings.weight"].astype(np.float64)
    bias = tensors["cls.predictions.bias"].astype(np.float64)
    norm = json.loads((folder / "inbedder.json").read_text())["answer_norm"]
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    texts = [ANGRY, "Where can I read how to clean the filter?", "Thank you, it came early!"]
    vectors = packaged.embed(texts, {"feeling": "How does the customer feel?"})["feeling"]
    logits = vectors.astype(np.float64) * norm @ words.T + bias
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares = powers / powers.sum(axis=1, keepdims=True)
    checked = 0
    for row, answers in zip(shares, packaged.explain(vectors, top=8), strict=True):
        assert len(answers) == 8
        for answer in answers:
            if answer.word in vocabulary:
                assert answer.weight == pytest.approx(row[vocabulary[answer.word]], rel=1e-3)
                checked += 1
    assert checked >= 12


def test_an_angry_text_is_read_as_angry(packaged: Embedder) -> None:
    vectors = packaged.embed([ANGRY], {"feeling": "How does the customer feel?"})["feeling"]
    [answers] = packaged.explain(vectors)
    anger = {"anger", "angry", "annoyed", "annoyance", "furious", "frustrated", "frustration"}
    assert anger & {answer.word for answer in answers}


def test_each_vector_has_words_of_its_own_and_at_most_top(tiny: Embedder) -> None:
    vectors = np.random.default_rng(0).normal(size=(3, 32)).astype(np.float32)
    together = tiny.explain(vectors, top=2)
    assert [len(answers) for answers in together] == [2, 2, 2]
    for vector, answers in zip(vectors, together, strict=True):
        [alone] = tiny.explain([vector], top=3)
        assert [answer.word for answer in alone[:2]] == [answer.word for answer in answers]


def test_weights_are_shares_of_one_whole(tiny: Embedder) -> None:
    vectors = np.random.default_rng(1).normal(size=(20, 32))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for answers in tiny.explain(vectors, top=1000):
        assert 0 < sum(answer.weight for answer in answers) <= 1 + 1e-5
        assert len({answer.word for answer in answers}) == len(answers)


def test_no_vector_has_no_words(tiny: Embedder) -> None:
    assert tiny.explain(np.zeros((0, 32))) == []


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros(32),
        np.zeros((1, 31)),
        np.zeros((1, 1, 32)),
        np.full((1, 32), np.nan),
        np.full((1, 32), np.inf),
        [],
        [[1.0], [1.0, 2.0]],
        [["a"] * 32],
    ],
)
def test_what_is_no_array_of_vectors_is_refused(tiny: Embedder, wrong: Any) -> None:
    with pytest.raises(InputError, match=r"wanted \(N, 32\) of finite numbers"):
        tiny.explain(wrong)


@pytest.mark.parametrize("top", [0, -1])
def test_no_word_at_all_cannot_be_asked_for(tiny: Embedder, top: int) -> None:
    with pytest.raises(InputError, match="ask for at least one word"):
        tiny.explain(np.zeros((1, 32)), top=top)


def test_weights_in_bfloat16_are_read_as_they_are(folder: Path) -> None:
    """NumPy has no such type; torch has."""
    from safetensors import torch as tensors

    path = folder / "model.safetensors"
    rounded = {name: one.bfloat16() for name, one in tensors.load_file(path).items()}
    tensors.save_file(rounded, path)
    weights = Weights(find_checkpoint(folder))
    name = "bert.embeddings.word_embeddings.weight"
    np.testing.assert_array_equal(weights.output_embeddings(), rounded[name].float().numpy())
    assert len(WordHead(find_checkpoint(folder)).words(0.2 * np.eye(1, 32), top=2)[0]) == 2


def test_vectors_that_skip_the_head_cannot_be_read(folder: Path) -> None:
    Recipe.load(folder).model_copy(update={"layer": 1}).save(folder)
    with pytest.raises(CheckpointError, match=r"layer 1.* not what a language-model head reads"):
        Embedder(folder, backend="torch").explain(np.zeros((1, 32)))


def test_weights_without_a_head_cannot_be_read(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    del tensors["bert.embeddings.word_embeddings.weight"]
    save_file(tensors, path)
    head = WordHead(find_checkpoint(folder))
    with pytest.raises(CheckpointError, match="has no word embeddings under a name"):
        head.words(np.zeros((1, 32)))


@pytest.mark.parametrize("kept", [0, 3000])
def test_weights_cut_short_cannot_be_read(folder: Path, kept: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="answer words need its word embeddings"):
        WordHead(find_checkpoint(folder)).words(np.zeros((1, 32)))

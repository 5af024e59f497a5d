"""Answer words: reading a vector through the language-model head.

The packaged model's vector is what its head would see at a mask, so its product with the word
embeddings, plus a bias, is the model's distribution over answers (InBedder, arXiv 2402.09642,
section 3). The same holds for a mean of vectors. General views have no such reading.
"""

from __future__ import annotations

import json
import re
import struct
from functools import cached_property
from importlib.resources import files

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open

from inbedder_retrieval.checkpoint import WEIGHTS_FILE, Checkpoint
from inbedder_retrieval.documents import AnswerWord
from inbedder_retrieval.errors import CheckpointError, InputError

__all__ = ["WordHead"]

# How many of the best word pieces are looked at for words; what is below weighs next to nothing.
CANDIDATES = 64
# The pieces of a word may differ in weight by this factor: the model was trained to give the
# pieces of an answer equal weight, so pieces that differ more belong to different answers.
PIECE_RATIO = 3.0
_WORD = re.compile(r"[^\W_]{2,}|\d", re.UNICODE)


class WordHead:
    """Reads vectors as words, with a checkpoint's word embeddings and bias.

    Raises:
        CheckpointError: the checkpoint has no language-model head that is tied to its word
            embeddings, or its recipe keeps vectors bare.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        if checkpoint.recipe.head != "mlm":
            raise CheckpointError(
                f"the vectors of {checkpoint.recipe.name} do not pass its language-model head, "
                "so they cannot be read as words"
            )
        self._checkpoint = checkpoint
        self._tokenizer = checkpoint.tokenizer()

    def words(self, vectors: ArrayLike, *, top: int = 5) -> list[list[AnswerWord]]:
        """Read unit vectors (N, H), or means of some, as their `top` answer words.

        Word pieces are joined to the words of `data/compound_words.json`; other fragments, stop
        words and punctuation are left out. A weight is the
        word's share of the softmax over the whole vocabulary; a joined word weighs what its
        pieces weigh together.

        Raises:
            InputError: the array is not (N, H) of finite numbers.
        """
        found = np.asarray(vectors, dtype=np.float32)
        dimension = self._checkpoint.dimension
        if found.ndim != 2 or found.shape[1] != dimension or not np.isfinite(found).all():
            raise InputError(
                f"vectors to explain have the shape {found.shape}; "
                f"wanted (N, {dimension}) of finite numbers"
            )
        if top < 1:
            raise InputError(f"top is {top}; ask for at least one word")
        embeddings, bias = self._weights
        logits = found * self._checkpoint.recipe.answer_norm @ embeddings.T + bias
        logits -= logits.max(axis=1, keepdims=True)
        weights = np.exp(logits)
        weights /= weights.sum(axis=1, keepdims=True)
        count = min(CANDIDATES, weights.shape[1])
        best = np.argpartition(-weights, count - 1, axis=1)[:, :count]
        return [self._join(row[ids], ids)[:top] for row, ids in zip(weights, best, strict=True)]

    @cached_property
    def _weights(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        path = self._checkpoint.folder / WEIGHTS_FILE
        try:
            with safe_open(path, framework="np") as tensors:
                embedding = _only(list(tensors.keys()), "word_embeddings.weight", path.name)
                bias = _only(list(tensors.keys()), "predictions.bias", path.name)
                return (
                    tensors.get_tensor(embedding).astype(np.float32),
                    tensors.get_tensor(bias).astype(np.float32),
                )
        except (OSError, SafetensorError, struct.error) as error:
            raise CheckpointError(
                f"{path} cannot be read, and answer words need its word embeddings: {error}"
            ) from error

    @cached_property
    def _compounds(self) -> dict[str, list[tuple[str, list[str]]]]:
        """Words of several pieces, by their first piece."""
        found: dict[str, list[tuple[str, list[str]]]] = {}
        words = list(_word_list("compound_words.json"))
        for word, encoding in zip(
            words, self._tokenizer.encode_batch(words, add_special_tokens=False), strict=True
        ):
            if len(encoding.tokens) > 1:
                found.setdefault(encoding.tokens[0], []).append((word, encoding.tokens))
        return found

    @cached_property
    def _stop_words(self) -> frozenset[str]:
        return frozenset(_word_list("stop_words.json"))

    def _join(self, weights: NDArray[np.float32], ids: NDArray[np.int64]) -> list[AnswerWord]:
        """Turn weighted word pieces into weighted words, heaviest first."""
        pieces = {
            piece: float(weight)
            for number, weight in zip(ids, weights, strict=True)
            if (piece := self._tokenizer.id_to_token(int(number))) is not None
        }
        compounds = [
            (sum(pieces[part] for part in parts), word, parts)
            for first in pieces
            for word, parts in self._compounds.get(first, ())
            if _alike([pieces.get(part, 0.0) for part in parts])
        ]
        words: dict[str, float] = {}
        for weight, word, parts in sorted(compounds, reverse=True):
            if all(part in pieces for part in parts):
                words[word] = weight
                for part in set(parts):
                    del pieces[part]
        words.update((p, w) for p, w in pieces.items() if not p.startswith("##"))
        kept = [
            AnswerWord(word=word, weight=weight)
            for word, weight in words.items()
            if _WORD.fullmatch(word) and word not in self._stop_words
        ]
        return sorted(kept, key=lambda answer: -answer.weight)


def _word_list(name: str) -> list[str]:
    found: list[str] = json.loads(files("inbedder_retrieval").joinpath("data", name).read_bytes())
    return found


def _alike(weights: list[float]) -> bool:
    return max(weights) <= PIECE_RATIO * min(weights)


def _only(names: list[str], ending: str, file: str) -> str:
    found = [name for name in names if name.endswith(ending)]
    if len(found) != 1:
        raise CheckpointError(
            f"{file} has {len(found)} tensors ending in {ending!r}; answer words need exactly one"
        )
    return found[0]

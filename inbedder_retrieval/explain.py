"""Answer words: reading a vector through the language-model head.

A vector made at an answer's place is what the model's head sees there, so its product with the
word embeddings is the model's distribution over answers (InBedder, arXiv 2402.09642, section 3).
The same holds for a mean of vectors. General views and means over a prompt have no such reading.

Only NumPy and safetensors are needed: the head is read from the weights, whatever the backend.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inbedder_retrieval.checkpoint import Checkpoint
from inbedder_retrieval.documents import AnswerWord
from inbedder_retrieval.errors import CheckpointError, InputError
from inbedder_retrieval.weights import Weights

__all__ = ["WordHead"]

# How many of the best word pieces are looked at for words; what is below weighs next to nothing.
CANDIDATES = 64
ROWS = 256
# What ranks below says nothing, or is the error of rounding.
MIN_RANK = 1e-6
# The pieces of a word may differ in weight by this factor: the model was trained to give the
# pieces of an answer equal weight, so pieces that differ more belong to different answers.
PIECE_RATIO = 3.0
# What marks the beginning of a word: byte-level BPE, and SentencePiece.
BEGINS = ("\u0120", "\u2581")
READABLE = ("avg_gen", "fst_gen", "last_gen")
_WORD = re.compile(r"[^\W_]{2,}|\d", re.UNICODE)

Array = NDArray[np.float32]


@dataclass(frozen=True)
class _Head:
    """What a state passes on its way to logits.

    Attributes:
        transform: the dense layer and LayerNorm of a masked model's head, where the vectors have
            not passed them yet: weight, bias, gain, offset, epsilon.
        norm: the length that a vector is given before it is read.
    """

    embeddings: Array
    bias: Array
    transform: tuple[Array, Array, Array, Array, float] | None
    norm: float


class WordHead:
    """Reads vectors as words, with a checkpoint's language-model head.

    Raises:
        CheckpointError: the checkpoint has no language-model head, or its vectors are not made at
            an answer's place.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        recipe = checkpoint.recipe
        if recipe.model == "encoder" or recipe.pooling not in READABLE or recipe.layer is not None:
            raise CheckpointError(
                f"the vectors of {recipe.name} (a {recipe.model} model, {recipe.pooling}"
                + (f", layer {recipe.layer}" if recipe.layer is not None else "")
                + ") are not what a language-model head reads, so they have no answer words"
            )
        self._checkpoint = checkpoint
        self._tokenizer = checkpoint.tokenizer()
        # The same pieces come again and again.
        self._piece = cache(self._tokenizer.id_to_token)
        self._whole = cache(self._whole_word)

    def words(
        self,
        vectors: ArrayLike,
        *,
        top: int = 5,
        background: ArrayLike | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[list[AnswerWord]]:
        """Read unit vectors (N, H), or means of some, as their `top` answer words.

        Word pieces are joined to words; other fragments, stop words and punctuation are left out.
        A weight is the word's share of the softmax over the whole vocabulary; a joined word weighs
        what its pieces weigh together.

        Args:
            background: a vector (H,), such as the mean of a corpus. Then words are what sets a
                vector apart from it: pieces are ranked by p log(p / q), their part in the
                divergence from the background's distribution q, and the others are left out.
            progress: called with the number of vectors read so far.

        Raises:
            InputError: an array has another shape, or numbers that are not finite.
        """
        found = self._checked(vectors)
        if top < 1:
            raise InputError(f"top is {top}; ask for at least one word")
        usual: Array | None = None
        if background is not None:
            other = self._checked(np.asarray(background, dtype=np.float32)[None])
            usual = _softmax(self.logits(other * np.float32(self._head.norm)))
        read: list[list[AnswerWord]] = []
        # A row of logits is as long as the vocabulary: not all rows at once.
        for start in range(0, len(found), ROWS):
            part = found[start : start + ROWS] * np.float32(self._head.norm)
            weights = _softmax(self.logits(part))
            ranks = weights
            if usual is not None:
                ranks = weights * np.log(np.maximum(weights, 1e-12) / np.maximum(usual, 1e-12))
            count = min(CANDIDATES, weights.shape[1])
            best = np.argpartition(-ranks, count - 1, axis=1)[:, :count]
            for row, rank, ids in zip(weights, ranks, best, strict=True):
                ids = ids[rank[ids] > MIN_RANK]
                read.append(self._words(row[ids], rank[ids], ids, top))
            if progress is not None:
                progress(len(read))
        return read

    def logits(self, states: Array) -> Array:
        """Return the logits (N, vocabulary) of vectors (N, H) of their own length."""
        head = self._head
        if head.transform is not None:
            weight, bias, gain, offset, epsilon = head.transform
            states = _gelu(states @ weight.T + bias)
            states = states - states.mean(axis=1, keepdims=True)
            deviation = np.sqrt(np.square(states).mean(axis=1, keepdims=True) + epsilon)
            states = states / deviation * gain + offset
        found: Array = states @ head.embeddings.T + head.bias
        return found

    def _checked(self, vectors: ArrayLike) -> Array:
        dimension = self._checkpoint.dimension
        try:
            found = np.asarray(vectors, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"vectors to explain are no array; wanted (N, {dimension}) of finite numbers"
            ) from error
        if found.ndim != 2 or found.shape[1] != dimension or not np.isfinite(found).all():
            raise InputError(
                f"vectors to explain have the shape {found.shape}; "
                f"wanted (N, {dimension}) of finite numbers"
            )
        return found

    @cached_property
    def _head(self) -> _Head:
        recipe, config = self._checkpoint.recipe, self._checkpoint.config
        weights = Weights(self._checkpoint)
        embeddings = weights.output_embeddings()
        if recipe.model == "seq2seq" and weights.tied:
            # T5 scales the last states where its output is its input embedding.
            embeddings = embeddings * np.float32(self._checkpoint.dimension**-0.5)
        transform = None
        if recipe.model == "masked" and recipe.head == "none":
            transform = (*weights.transform(), float(config.get("layer_norm_eps") or 1e-5))
        norm = recipe.answer_norm
        if norm is None:
            norm = weights.norm_after("head" if recipe.head == "mlm" else "layers")
        return _Head(embeddings, weights.output_bias(len(embeddings)), transform, norm)

    @cached_property
    def _compounds(self) -> dict[str, list[tuple[str, list[str]]]]:
        """Words of several pieces, by their first piece."""
        found: dict[str, list[tuple[str, list[str]]]] = {}
        words = list(_word_list("compound_words.json"))
        space = "" if self._wordpiece else " "
        encodings = self._tokenizer.encode_batch(
            [space + word for word in words], add_special_tokens=False
        )
        for word, encoding in zip(words, encodings, strict=True):
            if len(encoding.tokens) > 1:
                found.setdefault(encoding.tokens[0], []).append((word, encoding.tokens))
        return found

    @cached_property
    def _stop_words(self) -> frozenset[str]:
        return frozenset(_word_list("stop_words.json"))

    @cached_property
    def _wordpiece(self) -> bool:
        """Whether pieces inside a word are marked (`##`), not those that begin one."""
        return any(token.startswith("##") for token in self._tokenizer.get_vocab())

    def _words(
        self, weights: Array, ranks: Array, ids: NDArray[np.int64], top: int
    ) -> list[AnswerWord]:
        """Turn weighted word pieces into the `top` weighted words, highest rank first."""
        # Plain numbers: there are dozens of pieces a vector, too few for arrays to pay.
        pieces = {
            piece: (rank, weight)
            for number, rank, weight in zip(
                ids.tolist(), ranks.tolist(), weights.tolist(), strict=True
            )
            if (piece := self._piece(number)) is not None
        }
        compounds = [
            (sum(pieces[part][0] for part in set(parts)), word, parts)
            for first in pieces.keys() & self._compounds.keys()
            for word, parts in self._compounds[first]
            if _alike([pieces[part][1] if part in pieces else 0.0 for part in parts])
        ]
        words: dict[str, tuple[float, float]] = {}
        for _, word, parts in sorted(compounds, reverse=True):
            if all(part in pieces for part in parts):
                own = [pieces.pop(part) for part in sorted(set(parts))]
                words[word] = (sum(rank for rank, _ in own), sum(weight for _, weight in own))
        for piece, (rank, weight) in pieces.items():
            if (whole := self._whole(piece)) is not None:
                before = words.get(whole, (0.0, 0.0))
                words[whole] = (before[0] + rank, before[1] + weight)
        ranked = sorted(words.items(), key=lambda item: -item[1][0])
        return [AnswerWord(word=word, weight=weight) for word, (_, weight) in ranked[:top]]

    def _whole_word(self, piece: str) -> str | None:
        """Return the word that a piece is by itself, in lower case, or None for a fragment."""
        marked = piece[:1] in BEGINS
        word = (piece[1:] if marked else piece).lower()
        if not _WORD.fullmatch(word) or word in self._stop_words:
            return None
        if self._wordpiece or marked:
            return word
        # Unmarked, it may follow a line break: a word if it also begins words.
        known = any(self._tokenizer.token_to_id(mark + piece) is not None for mark in BEGINS)
        return word if known else None


def _word_list(name: str) -> list[str]:
    found: list[str] = json.loads(files("inbedder_retrieval").joinpath("data", name).read_bytes())
    return found


def _alike(weights: list[float]) -> bool:
    return max(weights) <= PIECE_RATIO * min(weights)


def _softmax(logits: Array) -> Array:
    found: Array = np.exp(logits - logits.max(axis=1, keepdims=True))
    found /= found.sum(axis=1, keepdims=True)
    return found


def _gelu(values: Array) -> Array:
    """The exact GELU, x Phi(x), to 1e-7 (Abramowitz and Stegun 7.1.26 gives erf to 1.5e-7)."""
    x = np.abs(values) / np.sqrt(2.0)
    t = 1.0 / (1.0 + 0.3275911 * x)
    series = t * (
        0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))
    )
    erf = np.sign(values) * (1.0 - series * np.exp(-x * x))
    return np.asarray(0.5 * values * (1.0 + erf), dtype=np.float32)

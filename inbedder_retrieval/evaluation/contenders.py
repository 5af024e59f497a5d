"""Contenders: what is compared, each a way to make a vector of a text and a question.

An `Embedder` is asked the question in its own way, and its general view stands beside it. A model
of sentence-transformers is given the text alone, and the question and the text in one string.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inbedder_retrieval.documents import AnswerWord
from inbedder_retrieval.embedder import Embedder
from inbedder_retrieval.errors import CheckpointError, MissingExtraError, ViewError
from inbedder_retrieval.views import GENERAL, View, Views

__all__ = ["Contender", "of_embedder", "of_sentence_transformers"]

Vectors: TypeAlias = NDArray[np.float32]
Questions: TypeAlias = "Sequence[str | None]"
# Questions of one text that are packed into one row; more are asked in turns.
AT_ONCE = 64


@dataclass(frozen=True)
class Contender:
    """A way to make vectors.

    Attributes:
        name: what the table calls it.
        model: contenders of one model differ in what they do with a question.
        asks: whether it does anything with it.
        ask: makes unit vectors (N, H) of N texts, each under its question; None is no question.
        explain: reads means of vectors, and the mean of them all, as answer words; None where
            they cannot be read.
    """

    name: str
    model: str
    asks: bool
    ask: Callable[[Sequence[str], Questions], Vectors]
    explain: Callable[[ArrayLike, ArrayLike], list[list[AnswerWord]]] | None = None


def of_embedder(embedder: Embedder, name: str) -> list[Contender]:
    """Return an embedder under the questions, and its general view where it has one."""

    def ask(texts: Sequence[str], questions: Questions) -> Vectors:
        return _asked(embedder, texts, questions)

    def without(texts: Sequence[str], questions: Questions) -> Vectors:
        return _asked(embedder, texts, [None] * len(texts))

    def explain(vectors: ArrayLike, background: ArrayLike) -> list[list[AnswerWord]]:
        return embedder.explain(vectors, top=3, background=background)

    probe = np.full((1, embedder.dimension), embedder.dimension**-0.5)
    try:
        embedder.explain(probe)
        readable = True
    except CheckpointError:
        readable = False
    found = [Contender(name, name, True, ask, explain if readable else None)]
    try:
        embedder.embed([], GENERAL)
    except ViewError:
        return found
    return [*found, Contender(f"{name}, no question", name, False, without)]


def of_sentence_transformers(folder: str | Path, name: str) -> list[Contender]:
    """Load a model of sentence-transformers: the text alone, and with the question before it.

    Raises:
        CheckpointError: it cannot be loaded.
        MissingExtraError: sentence-transformers is not installed.
    """
    try:
        library = import_module("sentence_transformers")
    except ImportError as error:
        raise MissingExtraError("comparing with a sentence-transformers model", "bench") from error
    try:
        model: Any = library.SentenceTransformer(str(folder), device="cpu", trust_remote_code=False)
    except Exception as error:
        # It raises from several libraries, whatever the fault.
        raise CheckpointError(
            f"{folder} cannot be loaded with sentence-transformers: {error}"
        ) from error

    def encode(texts: Sequence[str]) -> Vectors:
        places: dict[str, int] = {}
        index = [places.setdefault(text, len(places)) for text in texts]
        vectors = model.encode(
            list(places),
            batch_size=64,
            show_progress_bar=False,
            convert_to_numpy=True,
            normalize_embeddings=True,
        )
        found: Vectors = np.asarray(vectors, dtype=np.float32)[index]
        return found

    def without(texts: Sequence[str], questions: Questions) -> Vectors:
        return encode(texts)

    def within(texts: Sequence[str], questions: Questions) -> Vectors:
        return encode(
            [
                text if question is None else f"{question} {text}"
                for text, question in zip(texts, questions, strict=True)
            ]
        )

    return [
        Contender(f"{name}, question in the text", name, True, within),
        Contender(f"{name}, no question", name, False, without),
    ]


def _asked(embedder: Embedder, texts: Sequence[str], questions: Questions) -> Vectors:
    """Embed each text under its question; those that are asked alike share a call."""
    asked: dict[str, dict[str | None, None]] = {}
    for text, question in zip(texts, questions, strict=True):
        asked.setdefault(text, {})[question] = None
    groups: dict[tuple[str | None, ...], list[str]] = {}
    for text, several in asked.items():
        groups.setdefault(tuple(several), []).append(text)
    # A row for every text and question; rows that are asked for twice are copied.
    made: dict[tuple[str, str | None], tuple[Vectors, int]] = {}
    for every, group in groups.items():
        for start in range(0, len(every), AT_ONCE):
            part = every[start : start + AT_ONCE]
            views = Views(
                GENERAL if question is None else View(f"q{k}", question)
                for k, question in enumerate(part)
            )
            embedded = embedder.embed(group, views)
            for view, question in zip(views, part, strict=True):
                vectors = embedded[view.name]
                made |= {(text, question): (vectors, row) for row, text in enumerate(group)}
    found = np.empty((len(texts), embedder.dimension), dtype=np.float32)
    for place, key in enumerate(zip(texts, questions, strict=True)):
        vectors, row = made[key]
        found[place] = vectors[row]
    return found

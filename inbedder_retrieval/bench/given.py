"""Given vectors: texts whose vectors are drawn, so that a benchmark measures storage alone.

A few hundred centres with noise around them, as the vectors of texts have, in an independent space
for each view; drawn with a fixed seed, so that all stores get the same ones. What is nearest is
found here by comparing a query with every vector.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inbedder_retrieval.bench.workload import SEED, drawn_texts, questions
from inbedder_retrieval.documents import AnswerWord, Document
from inbedder_retrieval.embeddings import Embeddings
from inbedder_retrieval.errors import InputError
from inbedder_retrieval.views import Views, ViewsLike

__all__ = [
    "FIELD",
    "FILTERED",
    "LIMIT",
    "SEARCHED",
    "VALUES",
    "VIEWS",
    "WEIGHTS",
    "Given",
    "GivenVectors",
    "Kind",
    "draw",
    "nearest",
]

Kind: TypeAlias = Literal["one view", "filtered", "three views", "one view, exact"]

VIEWS = questions(3)
# The metadata field to filter on, and how many values it has, all equally often.
FIELD, VALUES = "kind", 10
# What is asked: how many hits, of which view or views, and with which value of the field.
LIMIT = 10
SEARCHED = VIEWS.names[0]
WEIGHTS = dict(zip(VIEWS.names, (0.5, 0.3, 0.2), strict=True))
FILTERED = "k3"
CENTRES = 500
# How long the noise around a centre is, to the centre's length.
SPREAD = 0.8
TEXT_WORDS, QUERY_WORDS = (16, 20), (3, 10)


@dataclass(frozen=True)
class GivenVectors:
    """Looks vectors up by their texts, as a `TextEmbedder`.

    Attributes:
        rows: which row of `vectors` is a text's.
        vectors: unit vectors (N, H) by question.
    """

    rows: Mapping[str, int]
    vectors: Mapping[str | None, NDArray[np.float32]]

    @property
    def name(self) -> str:
        """What finds the model again; nothing does."""
        return "given vectors"

    @property
    def dimension(self) -> int:
        """H, the width of a vector."""
        return int(next(iter(self.vectors.values())).shape[1])

    @property
    def fingerprint(self) -> str:
        """Equal for vectors drawn alike."""
        return f"given-{SEED}-{self.dimension}"

    def embed(self, texts: Iterable[str], views: ViewsLike) -> Embeddings:
        """Look texts up.

        Raises:
            InputError: a text has no vector, or a question.
        """
        try:
            rows = [self.rows[text] for text in texts]
            return Embeddings(
                {view.name: self.vectors[view.instruction][rows] for view in Views.of(views)}
            )
        except KeyError as error:
            raise InputError(
                f"no vector was drawn for {error}; give a text and a question that have one"
            ) from error

    def embed_answers(self, answers: Iterable[str], views: ViewsLike) -> Embeddings:
        """Look answers up like texts."""
        return self.embed(answers, views)

    def explain(self, vectors: ArrayLike, *, top: int = 5) -> list[list[AnswerWord]]:
        """Say nothing of each vector: what was drawn has no meaning."""
        return [[] for _ in np.asarray(vectors)]


@dataclass(frozen=True)
class Given:
    """What is stored and searched for.

    Attributes:
        documents: a text of some 100 characters each, with a keyword and a number.
        queries: texts to search for.
        vectors: of all of them; the documents' rows come first.
    """

    documents: list[Document]
    queries: list[str]
    vectors: GivenVectors

    def part(self, count: int) -> Given:
        """Return the same with the first `count` documents only."""
        return Given(self.documents[:count], self.queries, self.vectors)

    def stored(self, view: str) -> NDArray[np.float32]:
        """Return the documents' vectors (N, H)."""
        return self.vectors.vectors[VIEWS[view].instruction][: len(self.documents)]

    def query(self, text: str, view: str) -> NDArray[np.float32]:
        """Return a query's vector (H,)."""
        vectors = self.vectors.vectors[VIEWS[view].instruction]
        vector: NDArray[np.float32] = vectors[self.vectors.rows[text]]
        return vector


def draw(documents: int, queries: int, dimension: int) -> Given:
    """Draw so many documents and queries, with vectors of `dimension` numbers under each view.

    Raises:
        InputError: fewer than 1 document or query, or than 2 numbers.
    """
    if documents < 1 or queries < 1 or dimension < 2:
        raise InputError(
            f"{documents} documents and {queries} queries of {dimension} numbers were asked for; "
            "give at least 1, 1 and 2"
        )
    # Numbered, so that no two are equal.
    texts = [f"{k}: {t}" for k, t in enumerate(drawn_texts(documents, *TEXT_WORDS))]
    asked = [f"query {k}: {t}" for k, t in enumerate(drawn_texts(queries, *QUERY_WORDS))]
    stored = [
        Document(text, id=str(k), metadata={FIELD: f"k{k % VALUES}", "number": k % 1000 / 4})
        for k, text in enumerate(texts)
    ]
    draws = np.random.default_rng(SEED)
    vectors = {
        view.instruction: _clustered(draws, documents + queries, dimension) for view in VIEWS
    }
    rows = {text: row for row, text in enumerate([*texts, *asked])}
    return Given(stored, asked, GivenVectors(rows, vectors))


def nearest(
    given: Given, weights: Mapping[str, float], *, limit: int, value: str | None = None
) -> list[set[str]]:
    """Return the ids of the documents nearest to each query, by comparing with every document.

    Args:
        weights: what the cosine under each view weighs.
        value: of the field, where only documents with it count.
    """
    ids = np.array([document.id for document in given.documents])
    scores = np.zeros((len(given.queries), len(ids)), dtype=np.float32)
    for view, weight in weights.items():
        asked = np.stack([given.query(text, view) for text in given.queries])
        scores += np.float32(weight) * (asked @ given.stored(view).T)
    if value is not None:
        fits = np.array([document.metadata[FIELD] == value for document in given.documents])
        scores, ids = scores[:, fits], ids[fits]
    return [set(_best(row, ids, limit)) for row in scores]


def _best(scores: NDArray[np.float32], ids: NDArray[np.str_], limit: int) -> Sequence[str]:
    if len(ids) > limit:
        ids = ids[np.argpartition(scores, -limit)[-limit:]]
    best: list[str] = ids.tolist()
    return best


def _clustered(draws: np.random.Generator, count: int, dimension: int) -> NDArray[np.float32]:
    """Draw unit vectors (N, H) around centres."""
    centres = draws.standard_normal((CENTRES, dimension), dtype=np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    found = draws.standard_normal((count, dimension), dtype=np.float32)
    found *= SPREAD / np.sqrt(np.float32(dimension))
    found += centres[draws.integers(CENTRES, size=count)]
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found

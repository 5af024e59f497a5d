"""Queries: what is looked for, as one unit vector a view.

A text and an answer are embedded; examples are vectors that are stored already. They join as in
Qdrant's recommendation by average vector: twice the mean of what is wanted, minus the mean of
what is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inbedder_retrieval.collection.registry import ViewRecord
from inbedder_retrieval.collection.schema import ID, point_id
from inbedder_retrieval.collection.store import Store
from inbedder_retrieval.embeddings import Embeddings
from inbedder_retrieval.errors import DocumentError, InputError
from inbedder_retrieval.views import Views, ViewsLike

__all__ = ["Query", "query_vectors"]

Vectors = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Query:
    """What is looked for.

    Attributes:
        text: a text like the documents'; it is asked the same questions.
        answer: the answer itself that the documents are to give; by view where they differ.
        vector: a vector (H,) that was embedded elsewhere; by view where several are searched.
        like, unlike: ids of documents whose answers are, or are not, what is wanted.
    """

    text: str | None = None
    answer: str | Mapping[str, str] | None = None
    vector: ArrayLike | Mapping[str, ArrayLike] | None = None
    like: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        given = (self.text, self.answer, self.vector)
        if all(one is None for one in given) and not self.like:
            raise InputError(
                "there is nothing to look for; give a query text, an answer, a vector, or "
                "documents to be like"
            )

    @property
    def examples(self) -> tuple[str, ...]:
        """The ids of the documents that stand for what is wanted or not; none is a hit."""
        return self.like + self.unlike


async def query_vectors(store: Store, query: Query, records: Sequence[ViewRecord]) -> Vectors:
    """Return the unit vector (H,) of a query for each record, by vector name.

    Raises:
        DocumentError: an example is not stored, or has no vector here.
        InputError: what is wanted and what is not cancel out.
        TextError: the text or the answer cannot be embedded.
    """
    wanted: list[Vectors] = []
    if query.text is not None:
        wanted.append(await _embedded(store, store.embedder().embed, query.text, records))
    if query.answer is not None:
        wanted.append(await _answered(store, query.answer, records))
    if query.vector is not None:
        wanted.append({one.vector: _given(query.vector, one) for one in records})
    stored = await _examples(store, query.examples, [record.vector for record in records])
    wanted += [stored[one] for one in query.like]
    unwanted = [stored[one] for one in query.unlike]
    return {record.vector: _joined(record, wanted, unwanted) for record in records}


async def _embedded(
    store: Store,
    embed: Callable[[Iterable[str], ViewsLike], Embeddings],
    text: str,
    records: Sequence[ViewRecord],
) -> Vectors:
    views = Views(record.view for record in records)
    if store.threaded:
        found = await asyncio.to_thread(embed, [text], views)
    else:
        found = embed([text], views)
    return {record.vector: found[record.name][0] for record in records}


async def _answered(
    store: Store, answer: str | Mapping[str, str], records: Sequence[ViewRecord]
) -> Vectors:
    embed = store.embedder().embed_answers
    if isinstance(answer, str):
        return await _embedded(store, embed, answer, records)
    names = {record.name for record in records}
    if names != answer.keys():
        raise InputError(
            f"answers are given for {', '.join(answer)}, and the views searched are "
            f"{', '.join(sorted(names))}; give an answer for each"
        )
    vectors: Vectors = {}
    for record in records:
        vectors |= await _embedded(store, embed, answer[record.name], [record])
    return vectors


def _given(vector: ArrayLike | Mapping[str, ArrayLike], record: ViewRecord) -> NDArray[np.float32]:
    if isinstance(vector, Mapping):
        if record.name not in vector:
            raise InputError(
                f"vectors are given for {', '.join(vector)}, and view {record.name!r} is searched; "
                "give a vector for each view"
            )
        vector = vector[record.name]
    try:
        # In float64 the length of neither tiny nor huge numbers is lost.
        row = np.asarray(vector, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"the vector to look for is no array of numbers: {error}") from error
    if row.shape != (record.dimension,) or not np.isfinite(row).all() or not row.any():
        raise InputError(
            f"the vector to look for has the shape {row.shape}; view {record.name!r} takes "
            f"({record.dimension},), finite numbers that are not all zero"
        )
    row /= np.abs(row).max()
    return (row / np.linalg.norm(row)).astype(np.float32)


async def _examples(store: Store, ids: Sequence[str], names: Sequence[str]) -> dict[str, Vectors]:
    points = {one: point_id(one) for one in ids}
    stored = await store.engine.retrieve(list(points.values()), [ID], vectors=names) if ids else {}
    for one, point in points.items():
        if point not in stored:
            raise DocumentError(f"document {one!r} is to be an example, and is not stored here")
        if lacking := [name for name in names if name not in stored[point].vectors]:
            raise DocumentError(
                f"document {one!r} is to be an example, and lacks the vector {lacking[0]}; finish "
                "its view by adding it again"
            )
    return {one: stored[point].vectors for one, point in points.items()}


def _joined(
    record: ViewRecord, wanted: Sequence[Vectors], unwanted: Sequence[Vectors]
) -> NDArray[np.float32]:
    vector = _mean(record, wanted)
    if unwanted:
        vector = 2 * vector - _mean(record, unwanted)
    length = float(np.linalg.norm(vector))
    if length < 1e-6:
        raise InputError(
            f"what is wanted and what is not cancel out under view {record.name!r}; give other "
            "examples"
        )
    unit: NDArray[np.float32] = (vector / length).astype(np.float32)
    return unit


def _mean(record: ViewRecord, vectors: Sequence[Vectors]) -> NDArray[np.float64]:
    rows = np.array([one[record.vector] for one in vectors], dtype=np.float64)
    return cast("NDArray[np.float64]", rows.mean(axis=0))

"""Contents: documents are read, counted and deleted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from inbedder_retrieval.collection.filters import Where
from inbedder_retrieval.collection.registry import CollectionInfo
from inbedder_retrieval.collection.schema import (
    EXACT,
    ID,
    METADATA,
    TEXT,
    document_of,
    holds_document,
    point_id,
)
from inbedder_retrieval.collection.store import Store
from inbedder_retrieval.documents import Document, check_id
from inbedder_retrieval.errors import InputError

__all__ = [
    "clear_documents",
    "delete_documents",
    "describe",
    "get_documents",
    "scroll_documents",
    "several",
    "vectors_of",
]

# How many points are read or deleted at a time.
BATCH_POINTS = 1_000
MAX_PAGE = 10_000


async def get_documents(store: Store, ids: Iterable[object]) -> list[Document]:
    """Return the documents with these ids, in their order; ids not stored are left out."""
    points = [point_id(check_id(one)) for one in several(ids)]
    documents: list[Document] = []
    for batch in _batches(points):
        found = await store.engine.retrieve(batch, [ID, TEXT, METADATA, EXACT])
        documents += [document_of(found[point].payload) for point in batch if point in found]
    return documents


async def delete_documents(store: Store, ids: Iterable[object] | None, where: Where | None) -> int:
    """Delete documents by id, or those that fit a filter, and return how many there were.

    Raises:
        InputError: not exactly one of the two is given.
    """
    if (ids is None) == (where is None):
        raise InputError("name what to delete: ids, such as ['7', '8'], or a filter, and not both")
    deleted = 0
    if ids is not None:
        points = sorted({point_id(check_id(one)) for one in several(ids)})
        for batch in _batches(points):
            there = await store.engine.retrieve(batch, [ID])
            await store.engine.delete(list(there.values()))
            deleted += len(there)
        await store.engine.flush()
        return deleted
    return await _delete_found(store, where)


async def _delete_found(store: Store, where: Where | None) -> int:
    deleted = 0
    while True:
        # What is found is gone when the next are asked for, so each page is the first.
        found, _ = await store.engine.scroll([ID], limit=BATCH_POINTS, where=where)
        if not found:
            break
        await store.engine.delete(found)
        deleted += len(found)
    await store.engine.flush()
    return deleted


async def clear_documents(store: Store) -> int:
    """Delete every document and return how many there were."""
    return await _delete_found(store, None)


async def scroll_documents(
    store: Store, where: Where | None, limit: int, after: str | None
) -> tuple[list[Document], str | None]:
    """Return documents in the order of their points' ids, and where to go on from."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_PAGE:
        raise InputError(f"the limit is {limit!r}; give a whole number from 1 to {MAX_PAGE}")
    if after is not None and not _is_place(after):
        raise InputError(f"after is {after!r}; give what the call before returned, or None")
    found, following = await store.engine.scroll(
        [ID, TEXT, METADATA, EXACT], limit=limit, where=where, after=after
    )
    return [document_of(one.payload) for one in found if holds_document(one.payload)], following


def _is_place(after: object) -> bool:
    """Whether it may be a point's id: a UUID, or among other libraries' a number."""
    try:
        return isinstance(after, str) and (after.isdecimal() or bool(UUID(after)))
    except ValueError:
        return False


async def vectors_of(
    store: Store, ids: Iterable[object], view: str
) -> dict[str, NDArray[np.float32]]:
    """Return the stored unit vectors (H,) of a view, by document id."""
    vector = (await store.refresh()).record(view).vector
    points = [point_id(check_id(one)) for one in several(ids)]
    vectors: dict[str, NDArray[np.float32]] = {}
    for batch in _batches(points):
        found = await store.engine.retrieve(batch, [ID], vectors=[vector])
        vectors |= {
            found[point].payload[ID]: found[point].vectors[vector]
            for point in batch
            if point in found and vector in found[point].vectors
        }
    return vectors


async def describe(store: Store) -> CollectionInfo:
    """Describe the collection."""
    registry = await store.refresh()
    prefix = f"{METADATA}."
    building = [one.vector for one in registry.written if one.state == "building"]
    return CollectionInfo(
        location=store.location,
        engine=await store.engine.kind(),
        documents=await store.engine.count(),
        views=list(registry.records.values()),
        rebuilding=list(registry.successors.values()),
        lacking={name: await store.engine.count(lacking=[name]) for name in building},
        indexed_fields=sorted(
            path.removeprefix(prefix) for path in await store.engine.indexed_fields()
        ),
        storage=registry.storage,
    )


def several(ids: Iterable[object]) -> list[object]:
    """Return ids as a list, or raise InputError where one text was given for several."""
    if ids is None or isinstance(ids, (str, bytes)):
        raise InputError(f"ids is {ids!r}; give a list of ids, such as ['7', '8']")
    return list(ids)


def _batches(points: list[str]) -> Iterator[list[str]]:
    remaining = iter(points)
    while batch := list(islice(remaining, BATCH_POINTS)):
        yield batch

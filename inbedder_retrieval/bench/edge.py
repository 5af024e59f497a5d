"""Qdrant Edge alone: the engine of this package's folders, asked without this package.

The same payloads and vectors are stored and found by its own calls with nothing in between: what
this package takes more is the price of all that is ours.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from inbedder_retrieval.bench.given import FIELD, FILTERED, LIMIT, SEARCHED, VIEWS, Given, Kind
from inbedder_retrieval.collection.index import BATCH_DOCUMENTS
from inbedder_retrieval.collection.schema import ID, METADATA, payload_of, point_id

__all__ = ["EdgeAlone"]


class EdgeAlone:
    """Qdrant Edge by its own calls, with all views of a document as named vectors.

    It gets the payloads that this package writes, in batches as large, and is flushed at the end.
    """

    def __init__(self, given: Given, folder: Path) -> None:
        self._given = given
        self._edge: Any = import_module("qdrant_edge")
        self._place = folder / "edge"
        size, distance = given.vectors.dimension, self._edge.Distance.Cosine
        vectors = {name: self._edge.EdgeVectorParams(size, distance) for name in VIEWS.names}
        self._shard = self._edge.EdgeShard.create(
            str(self._place), self._edge.EdgeConfig(vectors=vectors)
        )
        self._indexed = False
        self._ids = [point_id(document.id) for document in given.documents]
        self._payloads = [payload_of(document) for document in given.documents]

    @property
    def engine(self) -> str:
        """What is running, with its version."""
        return f"edge (Qdrant Edge {version('qdrant-edge-py')})"

    def add(self) -> None:
        """Upsert all documents; they are on disk when this returns."""
        make = self._edge.Point
        for start in range(0, len(self._ids), BATCH_DOCUMENTS):
            part = slice(start, start + BATCH_DOCUMENTS)
            rows = zip(*(self._given.stored(name)[part] for name in VIEWS.names), strict=True)
            points = [
                # Buffers are what it reads fastest.
                make(id, {n: row.data for n, row in zip(VIEWS.names, own, strict=True)}, payload)
                for id, own, payload in zip(
                    self._ids[part], rows, self._payloads[part], strict=True
                )
            ]
            self._shard.update(self._edge.UpdateOperation.upsert_points(points))
        self._shard.flush()

    def close(self) -> None:
        """Let go of the shard."""
        self._shard.close()

    def open(self) -> None:
        """Open the shard."""
        self._shard = self._edge.EdgeShard.load(str(self._place))

    def search(self, query: str, kind: Kind) -> list[str]:
        """Search one named vector; with a filter, on an indexed field."""
        key, condition = f"{METADATA}.{FIELD}", None
        if kind == "filtered":
            if not self._indexed:
                index = self._edge.UpdateOperation.create_field_index
                self._shard.update(index(key, self._edge.PayloadSchemaType.Keyword))
                self._indexed = True
            match = self._edge.FieldCondition(key, match=self._edge.MatchValue(FILTERED))
            condition = self._edge.Filter(must=[match])
        vector = self._given.query(query, SEARCHED)
        found = self._shard.query(
            self._edge.QueryRequest(
                query=self._edge.Query.Nearest(vector.data, using=SEARCHED),
                filter=condition,
                limit=LIMIT,
                with_payload=True,
            )
        )
        return [point.payload[ID] for point in found]

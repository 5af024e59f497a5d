"""The stores that are compared, each used as its own users use it.

A store takes the documents of `given.py` and finds the nearest ones. Beside this package stands the
engine of its folders alone (see `edge.py`). None of the others has a server here: they run on
qdrant-client's local mode, as they do for who installs nothing else. What each takes (documents,
points, nodes) is made before the clock runs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from inbedder_retrieval.bench.edge import EdgeAlone
from inbedder_retrieval.bench.figures import OURS
from inbedder_retrieval.bench.given import (
    FIELD,
    FILTERED,
    LIMIT,
    SEARCHED,
    VIEWS,
    WEIGHTS,
    Given,
    Kind,
)
from inbedder_retrieval.collection import ViewCollection

if TYPE_CHECKING:
    # Loaded when it is measured: the command line imports this module.
    from qdrant_client import QdrantClient, models

__all__ = ["STORES", "Store", "StoreKind", "quiet"]

COLLECTION = "bench"
# qdrant-client's local mode makes lists of all arrays it is given at once.
UPLOADED = 1000


class Store(Protocol):
    """An empty store; `add` fills it. It is closed when all is done."""

    @property
    def engine(self) -> str:
        """What is running, with its version."""
        ...

    def add(self) -> None:
        """Store all documents."""
        ...

    def close(self) -> None:
        """Let go of the store."""
        ...

    def open(self) -> None:
        """Open what was closed."""
        ...

    def search(self, query: str, kind: Kind) -> list[str]:
        """Return the ids of the nearest documents, best first."""
        ...


@dataclass(frozen=True)
class StoreKind:
    """A contender.

    Attributes:
        make: takes what is given and an empty folder, and returns an empty store.
        vectors: how many it keeps of each document.
        kinds: the searches it is measured on; `kinds_after`, further ones after `optimize`.
        kept: whether it is still there after it was closed.
        module: what has to be imported; `pip` installs it.
    """

    name: str
    make: Callable[[Given, Path], Store]
    vectors: int
    kinds: tuple[Kind, ...] = ("one view", "filtered")
    kinds_after: tuple[Kind, ...] = ()
    kept: bool = True
    module: str = "qdrant_client"
    pip: str = "qdrant-client"

    @property
    def missing(self) -> str | None:
        """What to do where it cannot be imported; None where it can."""
        try:
            with quiet():
                import_module(self.module)
        except ImportError:
            return f"it is not installed; run: pip install {self.pip}"
        return None


class Ours:
    """This package, in a folder."""

    def __init__(self, given: Given, folder: Path) -> None:
        self._given = given
        self._location = folder / "ours.inb"
        self._collection = ViewCollection.create(self._location, VIEWS, given.vectors)

    @property
    def engine(self) -> str:
        """What is running, with its version."""
        return self._collection.info().engine

    def add(self) -> None:
        """Store all documents; they are on disk when this returns."""
        self._collection.add(self._given.documents)

    def close(self) -> None:
        """Let go of the folder."""
        self._collection.close()

    def open(self) -> None:
        """Open the folder."""
        self._collection = ViewCollection.open(self._location, self._given.vectors)

    def optimize(self) -> None:
        """Build the graphs that searches follow."""
        self._collection.optimize()

    def search(self, query: str, kind: Kind) -> list[str]:
        """Search one view or three, as anybody does."""
        several = kind == "three views"
        hits = self._collection.search(
            query,
            view=None if several else SEARCHED,
            views=WEIGHTS if several else None,
            limit=LIMIT,
            filter={FIELD: FILTERED} if kind == "filtered" else None,
            exact=kind == "one view, exact",
        )
        return [hit.id for hit in hits]


class LocalClient:
    """qdrant-client alone, with all views of a document as named vectors."""

    def __init__(self, given: Given, folder: Path, *, memory: bool) -> None:
        self._given = given
        self._place = ":memory:" if memory else str(folder / "client")
        self.open()
        widths = dict.fromkeys(VIEWS.names, _cosine(given))
        self._client.create_collection(COLLECTION, vectors_config=widths)
        documents = given.documents
        self._payloads = [
            {"text": document.text, "metadata": document.metadata} for document in documents
        ]
        self._ids = [int(document.id) for document in documents]

    @property
    def engine(self) -> str:
        """What is running, with its version."""
        return f"local mode ({_versions('qdrant-client')})"

    def add(self) -> None:
        """Upload all documents."""
        for start in range(0, len(self._ids), UPLOADED):
            part = slice(start, start + UPLOADED)
            vectors: Any = {name: self._given.stored(name)[part] for name in VIEWS.names}
            self._client.upload_collection(
                COLLECTION,
                vectors,
                self._payloads[part],
                self._ids[part],
                wait=True,
            )

    def close(self) -> None:
        """Let go of the client."""
        self._client.close()

    def open(self) -> None:
        """Open the folder, or an empty memory."""
        self._client = _client(self._place)

    def search(self, query: str, kind: Kind) -> list[str]:
        """Search one named vector."""
        found = self._client.query_points(
            COLLECTION,
            query=self._given.query(query, SEARCHED),
            using=SEARCHED,
            limit=LIMIT,
            query_filter=_condition() if kind == "filtered" else None,
        )
        return [str(point.id) for point in found.points]


class LangChain:
    """LangChain's QdrantVectorStore, with one view of a document; its Embeddings looks up."""

    def __init__(self, given: Given, folder: Path) -> None:
        self._given = given
        self._place = str(folder / "langchain")
        self._kind: Any = import_module("langchain_qdrant").QdrantVectorStore
        base: Any = import_module("langchain_core.embeddings").Embeddings
        methods = {
            "embed_documents": lambda _, texts: [self._vector(text) for text in texts],
            "embed_query": lambda _, text: self._vector(text),
        }
        self._embeddings = type("GivenEmbeddings", (base,), methods)()
        client = _client(self._place)
        client.create_collection(COLLECTION, vectors_config=_cosine(given))
        self._use(client)
        documents = given.documents
        self._texts = [document.text for document in documents]
        self._metadata = [document.metadata for document in documents]
        self._ids = [_uuid(document.id) for document in documents]

    @property
    def engine(self) -> str:
        """What is running, with its version."""
        return f"local mode ({_versions('langchain-qdrant', 'qdrant-client')})"

    def add(self) -> None:
        """Add all texts."""
        self._store.add_texts(self._texts, self._metadata, self._ids)

    def close(self) -> None:
        """Let go of the client."""
        self._client.close()

    def open(self) -> None:
        """Open the folder."""
        self._use(_client(self._place))

    def search(self, query: str, kind: Kind) -> list[str]:
        """Search by similarity."""
        condition = _condition() if kind == "filtered" else None
        found = self._store.similarity_search_with_score(query, k=LIMIT, filter=condition)
        return [_id(document.metadata["_id"]) for document, _ in found]

    def _use(self, client: QdrantClient) -> None:
        self._client = client
        self._store = self._kind(client, COLLECTION, self._embeddings)

    def _vector(self, text: str) -> list[float]:
        # It asks for the vector of a text of its own to learn how wide vectors are.
        known = text if text in self._given.vectors.rows else self._given.queries[0]
        vector: list[float] = self._given.query(known, SEARCHED).tolist()
        return vector


class LlamaIndex:
    """LlamaIndex's QdrantVectorStore, with one view of a document as a node's embedding."""

    def __init__(self, given: Given, folder: Path) -> None:
        self._given = given
        self._place = str(folder / "llama-index")
        self._kind: Any = import_module("llama_index.vector_stores.qdrant").QdrantVectorStore
        self._query: Any = import_module("llama_index.core.vector_stores")
        node: Any = import_module("llama_index.core.schema").TextNode
        self.open()
        self._nodes = [
            node(
                id_=_uuid(document.id),
                text=document.text,
                metadata=document.metadata,
                embedding=vector.tolist(),
            )
            for document, vector in zip(given.documents, given.stored(SEARCHED), strict=True)
        ]

    @property
    def engine(self) -> str:
        """What is running, with its version."""
        return f"local mode ({_versions('llama-index-vector-stores-qdrant', 'qdrant-client')})"

    def add(self) -> None:
        """Add all nodes."""
        self._store.add(self._nodes)

    def close(self) -> None:
        """Let go of the client."""
        self._client.close()

    def open(self) -> None:
        """Open the folder."""
        self._client = _client(self._place)
        self._store = self._kind(collection_name=COLLECTION, client=self._client)

    def search(self, query: str, kind: Kind) -> list[str]:
        """Query with an embedding."""
        filters = None
        if kind == "filtered":
            condition = self._query.MetadataFilter(key=FIELD, value=FILTERED)
            filters = self._query.MetadataFilters(filters=[condition])
        asked = self._query.VectorStoreQuery(
            query_embedding=self._given.query(query, SEARCHED).tolist(),
            similarity_top_k=LIMIT,
            filters=filters,
        )
        found = self._store.query(asked)
        return [_id(one) for one in found.ids]


STORES = (
    StoreKind(
        OURS,
        Ours,
        len(VIEWS),
        kinds=("one view", "filtered", "three views"),
        kinds_after=("one view, exact",),
    ),
    StoreKind(
        "Qdrant Edge alone", EdgeAlone, len(VIEWS), module="qdrant_edge", pip="qdrant-edge-py"
    ),
    StoreKind("qdrant-client, folder", partial(LocalClient, memory=False), len(VIEWS)),
    StoreKind("qdrant-client, memory", partial(LocalClient, memory=True), len(VIEWS), kept=False),
    StoreKind("LangChain", LangChain, 1, module="langchain_qdrant", pip="langchain-qdrant"),
    StoreKind(
        "LlamaIndex",
        LlamaIndex,
        1,
        module="llama_index.vector_stores.qdrant",
        pip="llama-index-vector-stores-qdrant",
    ),
)


def _client(place: str) -> QdrantClient:
    from qdrant_client import QdrantClient

    return QdrantClient(place) if place == ":memory:" else QdrantClient(path=place)


def _cosine(given: Given) -> models.VectorParams:
    from qdrant_client import models

    return models.VectorParams(size=given.vectors.dimension, distance=models.Distance.COSINE)


def _condition() -> models.Filter:
    from qdrant_client import models

    match = models.MatchValue(value=FILTERED)
    return models.Filter(must=[models.FieldCondition(key=f"metadata.{FIELD}", match=match)])


def _uuid(document_id: str) -> str:
    """Write an id as the UUID that both integrations need."""
    return str(UUID(int=int(document_id)))


def _id(found: object) -> str:
    return str(UUID(str(found)).int)


def _versions(*names: str) -> str:
    return ", ".join(f"{name} {version(name)}" for name in names)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep local mode from warning of its size and its indexes: that is what is measured."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

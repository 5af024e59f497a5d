"""Collections as LangChain's and LlamaIndex's own stores for Qdrant wrote them (see adopted.json).

The file holds the points of langchain-qdrant 1.1.0 and llama-index-vector-stores-qdrant 0.10.4.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qdrant_client import QdrantClient, models

from inbedder_retrieval import ViewCollection, Views
from inbedder_retrieval.collection.adopt import adopt_collection
from inbedder_retrieval.collection.flow import run
from inbedder_retrieval.collection.layouts import Layout
from inbedder_retrieval.testing import FakeEmbedder
from tests.collection.qdrant_server import QdrantServer

__all__ = ["KETTLE", "LIBRARIES", "NAME", "QUESTIONS", "TENT", "THANKS", "WRITTEN", "Theirs"]

WRITTEN = json.loads((Path(__file__).parent / "adopted.json").read_text(encoding="utf-8"))
LIBRARIES = list(WRITTEN)
QUESTIONS: dict[str, str | None] = {"general": None, "need": "What does the customer need?"}
TENT, KETTLE, THANKS = (
    "my tent broke and I want a refund",
    "the kettle leaks please repair it",
    "thank you for the kettle",
)
NAME = "theirs"


class Theirs:
    """A collection that another library has written, and how to reach it."""

    def __init__(self, library: str, folder: Path | None, server: QdrantServer) -> None:
        self.library = library
        self.folder = folder
        self.url = server.url
        self.location = folder or f"{server.url}/{NAME}"
        points = copy.deepcopy(WRITTEN[library])
        self.ids = {self.text(point["payload"]): str(point["id"]) for point in points}
        with self.client() as client:
            plain = models.VectorParams(size=4, distance=models.Distance.COSINE)
            client.create_collection(NAME, vectors_config=plain)
        self.write(points)

    @contextmanager
    def client(self) -> Iterator[QdrantClient]:
        if self.folder is not None:
            client = QdrantClient(path=str(self.folder))
        else:
            client = QdrantClient(url=self.url, check_compatibility=False)
        yield client
        client.close()

    def text(self, payload: dict[str, Any]) -> str:
        if self.library == "langchain":
            return str(payload["page_content"])
        node = json.loads(payload["_node_content"])
        return str(node.get("text") or node["text_resource"]["text"])

    def write(self, points: Iterable[dict[str, Any]]) -> None:
        with self.client() as client:
            client.upsert(
                NAME,
                [
                    # As both libraries name it: their one vector has an empty name.
                    models.PointStruct(**point | {"vector": {"": point["vector"]}})
                    for point in points
                ],
            )

    def stored(self) -> dict[str, tuple[dict[str, Any], list[float]]]:
        """Their payload and their vector of every point, without what is ours."""
        with self.client() as client:
            records, _ = client.scroll(NAME, with_vectors=True, limit=99)
        found = {}
        for record in records:
            vector: Any = record.vector
            if isinstance(vector, dict):
                vector = vector.get("")
            payload = dict(record.payload or {})
            payload.pop("inbedder", None)
            found[str(record.id)] = (payload, vector)
        return found

    def adopt(
        self,
        embedder: FakeEmbedder,
        views: dict[str, str | None] | None = QUESTIONS,
        layout: Layout | None = None,
    ) -> ViewCollection:
        asked = None if views is None else Views.of(views)
        name = NAME if self.folder is not None else None
        return ViewCollection(
            run(adopt_collection(self.location, asked, embedder, name=name, layout=layout))
        )

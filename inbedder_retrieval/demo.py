"""The demo corpus: customer messages with three hidden labels, and what they show.

375 messages were written for this project. Each has a product, a feeling and a need, and all
combinations occur equally often, so knowing one label says nothing about the others. What a view
is worth is how often the neighbours it finds share the label it asks about.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from inbedder_retrieval.collection import ViewCollection
from inbedder_retrieval.documents import Document, Hit
from inbedder_retrieval.embedder import Embedder
from inbedder_retrieval.views import GENERAL, View, Views

__all__ = [
    "DEMO_QUERY",
    "DEMO_VIEWS",
    "LABELS",
    "DemoReport",
    "demo_documents",
    "neighbours_sharing",
    "run_demo",
]

LABELS = ("product", "feeling", "need")
DEMO_VIEWS = Views(
    [
        GENERAL,
        View("product", "Which product is it about?"),
        View("feeling", "How does the customer feel?"),
        View("need", "What does the customer need?"),
    ]
)
DEMO_QUERY = (
    "The motor of my e-bike makes a grinding noise and I'm scared it fails on the hill. "
    "Can you fix it?"
)


class DemoReport(BaseModel):
    """What the demo found.

    Attributes:
        seconds: how long indexing took.
        hits: the nearest documents under each view.
        shares: see `neighbours_sharing`.
    """

    documents: int
    views: dict[str, str | None]
    seconds: float
    query: str
    hits: dict[str, list[Hit]]
    shares: dict[str, dict[str, float]]


def demo_documents() -> list[Document]:
    """Return the 375 messages; the labels are their metadata."""
    lines = files("inbedder_retrieval").joinpath("data/demo.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [Document(row.pop("text"), id=row.pop("id"), metadata=row) for row in rows]


def run_demo(
    location: str | Path,
    documents: Sequence[Document],
    query: str,
    *,
    progress: Callable[[int], None] | None = None,
) -> DemoReport:
    """Index the documents under the demo's views, and search each view for the query.

    Args:
        progress: called with the number of documents that are safely stored.
    """
    embedder = Embedder()
    start = time.perf_counter()
    with ViewCollection.open_or_create(location, DEMO_VIEWS, embedder) as collection:
        collection.add(documents, progress=progress)
        seconds = time.perf_counter() - start
        embeddings = embedder.embed([document.text for document in documents], DEMO_VIEWS)
        hits = {
            name: collection.search(query, view=name, limit=3, explain=3)
            for name in DEMO_VIEWS.names
        }
    return DemoReport(
        documents=len(documents),
        views={view.name: view.instruction for view in DEMO_VIEWS},
        seconds=seconds,
        query=query,
        hits=hits,
        shares=neighbours_sharing(embeddings, documents),
    )


def neighbours_sharing(
    embeddings: Mapping[str, NDArray[np.float32]],
    documents: Sequence[Document],
    *,
    neighbours: int = 10,
) -> dict[str, dict[str, float]]:
    """Return, for each view and label, the share of nearest neighbours with the same label.

    For every document the `neighbours` nearest others by cosine are looked at, or all others where
    there are not so many. By chance the share is one in five.

    Args:
        embeddings: unit vectors (N, H) of the N documents, by view name.
    """
    labels = {
        label: np.array([document.metadata[label] for document in documents]) for label in LABELS
    }
    others = min(neighbours, len(documents) - 1)
    shares: dict[str, dict[str, float]] = {}
    for view, vectors in embeddings.items():
        similarity = vectors @ vectors.T
        np.fill_diagonal(similarity, -np.inf)
        nearest = np.argsort(-similarity, axis=1)[:, :others]
        shares[view] = {
            label: float(np.mean(values[nearest] == values[:, None]))
            for label, values in labels.items()
        }
    return shares

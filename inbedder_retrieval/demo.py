"""The demo corpus: customer messages with three hidden labels, and what they show.

375 messages were written for this project. Each has a product, a feeling and a need, and all
combinations occur equally often, so knowing one label says nothing about the others. What a view
is worth is how often the neighbours it finds share the label it asks about.
"""

from __future__ import annotations

import json
from importlib.resources import files

import numpy as np

from inbedder_retrieval.documents import Document
from inbedder_retrieval.embedder import TextEmbedder
from inbedder_retrieval.views import GENERAL, View, Views

__all__ = ["DEMO_QUERY", "DEMO_VIEWS", "LABELS", "demo_documents", "neighbours_sharing"]

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


def demo_documents() -> list[Document]:
    """Return the 375 messages; the labels are their metadata."""
    lines = files("inbedder_retrieval").joinpath("data/demo.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [Document(row.pop("text"), id=row.pop("id"), metadata=row) for row in rows]


def neighbours_sharing(
    embedder: TextEmbedder, documents: list[Document], views: Views, *, neighbours: int = 10
) -> dict[str, dict[str, float]]:
    """Return, for each view and label, the share of nearest neighbours with the same label.

    For every document the `neighbours` nearest others by cosine are looked at. By chance the
    share is one in five.
    """
    embeddings = embedder.embed([document.text for document in documents], views)
    labels = {
        label: np.array([document.metadata[label] for document in documents]) for label in LABELS
    }
    shares: dict[str, dict[str, float]] = {}
    for view in views.names:
        similarity = embeddings[view] @ embeddings[view].T
        np.fill_diagonal(similarity, -np.inf)
        nearest = np.argsort(-similarity, axis=1)[:, :neighbours]
        shares[view] = {
            label: float(np.mean(values[nearest] == values[:, None]))
            for label, values in labels.items()
        }
    return shares

"""Place: where a store's collection is, and what is to be found there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from inbedder_retrieval import (
    GENERAL,
    CollectionNotFound,
    Connection,
    InputError,
    Storage,
    TextEmbedder,
    UnknownView,
    ViewCollection,
    Views,
)
from langchain_core.embeddings import Embeddings

from langchain_inbedder.embeddings import InBedderEmbeddings, text_embedder

__all__ = ["Place", "collection_at", "view_asked"]


class Place(TypedDict, total=False):
    """Where a collection is, and what it is created with; None counts as not given.

    Attributes:
        location: a folder, `:memory:` (taken where none is given), or `http://host:6333/name`.
        views: questions by name. Where there is a collection it must have them; without, it has
            its own. A new one without asks what the embedding does.
        view: the view that the store searches. Without, it is the one that asks what the
            embedding does, or else the first.
        storage, connection: as `inbedder_retrieval.ViewCollection.create` takes them.
    """

    location: str | Path
    views: Views | Mapping[str, str | None] | None
    view: str | None
    storage: Storage | None
    connection: Connection | None


def collection_at(place: Place, embedding: Embeddings | TextEmbedder | None) -> ViewCollection:
    """Open the collection at a place, or create it where there is none.

    Raises:
        InputError: the embedding cannot be asked questions, or there is no such option.
        As `ViewCollection.open_or_create`, besides.
    """
    if unknown := sorted(place.keys() - Place.__annotations__.keys()):
        raise InputError(
            f"there is no option {unknown[0]!r}; there are {', '.join(Place.__annotations__)}"
        )
    embedder = text_embedder(embedding)
    location, views = place.get("location") or ":memory:", place.get("views")
    storage, connection = place.get("storage"), place.get("connection")
    try:
        return ViewCollection.open_or_create(
            location, views, embedder, storage=storage, connection=connection
        )
    except CollectionNotFound:
        # It is not there, and no views are given.
        own = embedding.view if isinstance(embedding, InBedderEmbeddings) else GENERAL
        return ViewCollection.create(
            location, own, embedder, storage=storage, connection=connection
        )


def view_asked(views: Views, embedding: Embeddings | TextEmbedder | None) -> str | None:
    """Return the name of the view that asks what the embeddings do, or None for any."""
    if not isinstance(embedding, InBedderEmbeddings):
        return None
    for view in views:
        if view.instruction == embedding.instruction:
            return view.name
    if embedding.instruction is None:
        return None
    raise UnknownView(
        f"the embeddings ask {embedding.instruction!r}, which no view here does; name one of "
        f"{', '.join(views.names)} as view, or add the question to the collection with add_view"
    )

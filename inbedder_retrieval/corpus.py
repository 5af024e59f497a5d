"""Corpus: documents with the unit vectors of some views, held in memory in the order of their ids.

It is read from a collection, or embedded. What is computed from it does not depend on the order in
which documents were added. A hundred thousand documents take 150 MB a view (H = 384), and their
texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from inbedder_retrieval.collection import ViewCollection
from inbedder_retrieval.collection.filters import WhereLike
from inbedder_retrieval.documents import Document
from inbedder_retrieval.embeddings import TextEmbedder, check_finite
from inbedder_retrieval.errors import InputError, UnknownView, ViewNotReady
from inbedder_retrieval.naming import Words, document_words, text_words
from inbedder_retrieval.views import Views, ViewsLike

__all__ = ["Corpus", "Step", "embed_corpus", "read_corpus"]

# Called with what is being done, how much of it is done, and how much there is.
Step = Callable[[str, int, int], None]

PAGE = 1_000
EMBED = 2_000


@dataclass(frozen=True)
class Corpus:
    """N documents, and for each of some views their vectors (N, H), in the order of their ids.

    Attributes:
        embedder: the model that made the vectors, and reads them as words.
    """

    documents: list[Document]
    views: Views
    vectors: dict[str, NDArray[np.float32]]
    embedder: TextEmbedder
    _words: dict[str, list[Words]] = field(default_factory=dict, repr=False, compare=False)

    def of(self, view: str) -> NDArray[np.float32]:
        """Return the vectors (N, H) of a view.

        Raises:
            UnknownView: it was not read, or there is none of this name.
        """
        if view not in self.vectors:
            raise UnknownView(
                f"there is no view {view!r} here; there are {', '.join(self.views.names)}"
            )
        return self.vectors[view]

    def words(self, view: str, progress: Step | None = None) -> list[Words]:
        """Return the five heaviest answer words of each document; read once, then kept.

        In the general view, which answers nothing, the terms of the text itself.
        """
        if view not in self._words:
            vectors, total = self.of(view), len(self.documents)
            if self.views[view].instruction is None:
                found = text_words([document.text for document in self.documents])
            else:
                show = None if progress is None else _said(progress, "reading answers", total)
                found = document_words(vectors, self.embedder, progress=show)
            self._words[view] = found
        return self._words[view]


def read_corpus(
    collection: ViewCollection,
    views: Iterable[str],
    *,
    filter: WhereLike | None = None,
    progress: Step | None = None,
) -> Corpus:
    """Read documents and their vectors of some views from a collection.

    Raises:
        UnknownView: there is none of one of these names.
        ViewNotReady: a view is being built: documents lack it still.
        InputError: there is no document, or none that fits the filter.
    """
    names = list(dict.fromkeys(views))
    info = collection.info()
    records = {record.name: record for record in info.views}
    for name in names:
        if name not in records:
            raise UnknownView(
                f"there is no view {name!r} here; the collection has {', '.join(records)}"
            )
        if records[name].state == "building":
            lacking = info.lacking.get(records[name].vector, 0)
            raise ViewNotReady(
                f"view {name!r} is being built: {lacking} documents lack it still. Finish it by "
                "adding it again"
            )
    total = collection.count(filter)
    documents: list[Document] = []
    pages: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    after: str | None = None
    while True:
        found, after = collection.scroll(filter=filter, limit=PAGE, after=after)
        vectors = {name: collection.vectors([one.id for one in found], name) for name in names}
        # A document that somebody adds or deletes meanwhile may lack a vector.
        found = [one for one in found if all(one.id in vectors[name] for name in names)]
        documents += found
        for name in names:
            if found:
                pages[name].append(np.stack([vectors[name][one.id] for one in found]))
        if progress is not None:
            progress("reading documents", min(len(documents), total), total)
        if after is None:
            break
    if not documents:
        fits = "" if filter is None else " that fits the filter"
        raise InputError(f"there is no document{fits} at {info.location}; add some first")
    stacked = {name: np.concatenate(pages.pop(name)) for name in names}
    kept = Views(collection.views[name] for name in names)
    return _ordered(documents, kept, stacked, collection.embedder)


def embed_corpus(
    documents: Iterable[Document],
    views: ViewsLike,
    embedder: TextEmbedder,
    *,
    total: int = 0,
    progress: Step | None = None,
) -> Corpus:
    """Embed documents under views, without storing them. Of equal ids the last one counts.

    Raises:
        InputError: there is no document.
        ModelError: the model gave vectors that are no numbers.
    """
    views = Views.of(views)
    kept = list({document.id: document for document in documents}.values())
    if not kept:
        raise InputError("there is no document to embed; give at least one")
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in views.names}
    for start in range(0, len(kept), EMBED):
        texts = [document.text for document in kept[start : start + EMBED]]
        embeddings = embedder.embed(texts, views)
        check_finite(embeddings, embedder.name)
        for name in views.names:
            parts[name].append(embeddings[name])
        if progress is not None:
            progress("embedding", start + len(texts), total or len(kept))
    vectors = {name: np.concatenate(parts.pop(name)) for name in views.names}
    return _ordered(kept, views, vectors, embedder)


def _ordered(
    documents: Sequence[Document],
    views: Views,
    vectors: dict[str, NDArray[np.float32]],
    embedder: TextEmbedder,
) -> Corpus:
    for name, found in vectors.items():
        if not np.isfinite(found).all():
            raise InputError(
                f"view {name!r} holds vectors that are not finite numbers; rebuild the view"
            )
    order = sorted(range(len(documents)), key=lambda k: documents[k].id)
    return Corpus(
        documents=[documents[k] for k in order],
        views=views,
        vectors={name: found[order] for name, found in vectors.items()},
        embedder=embedder,
    )


def _said(progress: Step, action: str, total: int) -> Callable[[int], None]:
    return lambda done: progress(action, done, total)

"""Documents: LangChain's become the library's, and the other way round.

Text, metadata and id are one to one, so a collection written here reads the same through the
library. Dates in metadata are stored as ISO 8601 text, which is what the library shows, and are
dates again here. What JSON cannot hold besides is refused; tuples come back as lists.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from inbedder_retrieval import (
    Document,
    DocumentError,
    Hit,
    InputError,
    dates_as_text,
    text_as_dates,
)
from langchain_core.documents import Document as LangChainDocument

__all__ = ["of_langchain", "of_texts", "to_langchain"]


def of_langchain(
    documents: Iterable[LangChainDocument], ids: Iterable[str | None] | None = None
) -> list[Document]:
    """Return copies to store; the originals are left as they are.

    Args:
        ids: they go before those of the documents. A document with neither is named by a hash of
            its text and metadata, so that adding it again adds nothing.

    Raises:
        InputError: there are more or fewer ids than documents, or something is no document.
        DocumentError: an id or metadata cannot be stored.
    """
    documents = _several(documents, "documents", "Document")
    for index, document in enumerate(documents):
        if not isinstance(document, LangChainDocument):
            raise InputError(
                f"document {index} is {type(document).__name__}; give LangChain's Document "
                "objects, or texts to add_texts"
            )
    given = _aligned(ids, len(documents), "ids", "documents")
    return [
        _stored(document.page_content, name if name is not None else document.id, document.metadata)
        for document, name in zip(documents, given, strict=True)
    ]


def of_texts(
    texts: Iterable[str],
    metadatas: Iterable[dict[str, Any] | None] | None,
    ids: Iterable[str | None] | None,
) -> list[Document]:
    """Return documents to store, as `of_langchain` does."""
    texts = _several(texts, "texts", "text")
    metadata = _aligned(metadatas, len(texts), "metadatas", "texts")
    names = _aligned(ids, len(texts), "ids", "texts")
    return [_stored(*one) for one in zip(texts, names, metadata, strict=True)]


def to_langchain(found: Document | Hit) -> LangChainDocument:
    """Return what was stored, with its id."""
    metadata = text_as_dates(found.metadata, found.notes.get("dates", ()))
    return LangChainDocument(page_content=found.text, metadata=metadata, id=found.id)


def _stored(text: str, name: object, metadata: dict[str, Any] | None) -> Document:
    dates: list[Any] = []
    if isinstance(metadata, dict):
        metadata, dates = dates_as_text(metadata)
    try:
        return Document(text, name, metadata, {"dates": dates} if dates else None)
    except DocumentError as error:
        which = f"document {name!r}" if name else f"the document that begins {str(text)[:40]!r}"
        raise DocumentError(f"{which} cannot be stored: {error}") from error


def _several(values: Iterable[Any], what: str, each: str) -> list[Any]:
    if isinstance(values, (str, bytes, LangChainDocument)):
        raise InputError(f"{what} is one {each}; give a list, such as [{each.lower()}]")
    return list(values)


def _aligned(values: Iterable[Any] | None, count: int, what: str, of: str) -> list[Any]:
    if values is None:
        return [None] * count
    found = _several(values, what, "text")
    if len(found) != count:
        raise InputError(f"there are {len(found)} {what} for {count} {of}; give one for each")
    return found

"""Nodes as documents of a collection, and back: text, metadata, id, relationships and kind.

A document's metadata is the node's own, with dates as text. What a node has beside it, and where
its dates were, is in the document's notes: so a node is a plain document to everybody else.
"""

from __future__ import annotations

import json
from typing import Any

from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MetadataMode,
    Node,
    RelatedNodeInfo,
    RelatedNodeType,
    TextNode,
)

from inbedder_retrieval import Document as StoredDocument
from inbedder_retrieval import DocumentError, Hit, dates_as_text, text_as_dates

__all__ = ["SOURCE", "document_of", "node_of"]

# Where the id of the document that a node was cut from is filtered by: notes stand there.
SOURCE = "_notes.ref_doc_id"
KINDS: dict[str, type[BaseNode]] = {
    kind.class_name(): kind
    for kind in (TextNode, Node, IndexNode, ImageNode, Document, ImageDocument)
}


def document_of(node: BaseNode, mode: MetadataMode = MetadataMode.NONE) -> StoredDocument:
    """Return what is stored of a node; the node is left as it is.

    Metadata is written as JSON, as LlamaIndex writes it: what JSON has no word for becomes text.
    Dates are dates again when the node is read.

    Args:
        mode: what the document's text is: the node's text, or with metadata before it.

    Raises:
        DocumentError: the metadata has a key `_notes`, or holds what JSON or Qdrant cannot keep.
    """
    if not isinstance(node, BaseNode):
        raise DocumentError(f"a node is {type(node).__name__}; give LlamaIndex nodes")
    plain, dates = dates_as_text(node.metadata)
    related = {kind.value: _metadata_of(one) for kind, one in node.relationships.items()}
    _, related_dates = dates_as_text({"relationships": related})
    undated = {kind: _undated(one) for kind, one in node.relationships.items()}
    bare = node.model_copy(update={"metadata": plain, "relationships": undated})
    fields = bare.model_dump(mode="json", exclude={"embedding", "id_"}, exclude_defaults=True)
    metadata = fields.pop("metadata", {})
    kind = fields.pop("class_name")
    own = fields.pop("text", "")
    if isinstance(fields.get("text_resource"), dict):
        own = fields["text_resource"].pop("text", None) or ""
    text = node.get_content(metadata_mode=mode)
    if text != own:
        fields["own_text"] = own
    notes: dict[str, Any] = {}
    if dates:
        notes["dates"] = dates
    if related_dates:
        notes["related_dates"] = related_dates
    if fields or kind != TextNode.class_name():
        notes |= {"type": kind, "fields": json.dumps(fields)}
        if node.ref_doc_id is not None:
            notes["ref_doc_id"] = node.ref_doc_id
    return StoredDocument(text, id=node.node_id, metadata=metadata, notes=notes)


def node_of(found: StoredDocument | Hit) -> BaseNode:
    """Return the node that a document was made of; one that was made of none is a TextNode.

    A node of a class that is not LlamaIndex's own comes back as a TextNode.
    """
    notes, text = found.notes, found.text
    metadata = text_as_dates(found.metadata, notes.get("dates", ()))
    if "fields" not in notes:
        return TextNode(id_=found.id, text=text, metadata=metadata)
    fields = text_as_dates(json.loads(notes["fields"]), notes.get("related_dates", ()))
    text = fields.pop("own_text", text)
    kind = KINDS.get(notes["type"], TextNode)
    if issubclass(kind, Node):
        if "text_resource" in fields:
            fields["text_resource"]["text"] = text
    else:
        fields["text"] = text
    return kind.from_dict(fields | {"id_": found.id, "metadata": metadata})


def _undated(related: RelatedNodeType) -> RelatedNodeType:
    if isinstance(related, list):
        return [_with_text(one) for one in related]
    return _with_text(related)


def _with_text(one: RelatedNodeInfo) -> RelatedNodeInfo:
    return one.model_copy(update={"metadata": dates_as_text(one.metadata)[0]})


def _metadata_of(related: RelatedNodeType) -> Any:
    if isinstance(related, list):
        return [_metadata_of(one) for one in related]
    return {"metadata": related.metadata}

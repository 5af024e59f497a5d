"""Nodes as documents of a collection, and back: text, metadata, id, relationships and kind.

A document's metadata is the node's own. What a node has beside it stands under one further key,
`_node`, and only where there is something: so a plain node is a plain document to everybody else.
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
    TextNode,
)

from inbedder_retrieval import Document as StoredDocument
from inbedder_retrieval import DocumentError

__all__ = ["KEY", "SOURCE", "document_of", "node_of"]

KEY = "_node"
# Where the id of the document that a node was cut from is filtered by.
SOURCE = f"{KEY}.ref_doc_id"
KINDS: dict[str, type[BaseNode]] = {
    kind.class_name(): kind
    for kind in (TextNode, Node, IndexNode, ImageNode, Document, ImageDocument)
}


def document_of(node: BaseNode, mode: MetadataMode = MetadataMode.NONE) -> StoredDocument:
    """Return what is stored of a node; the node is left as it is.

    Metadata is written as JSON, so a date becomes its ISO 8601 text.

    Args:
        mode: what the document's text is: the node's text, or with metadata before it.

    Raises:
        DocumentError: the metadata has a key `_node`, or holds what JSON or Qdrant cannot keep.
    """
    if not isinstance(node, BaseNode):
        raise DocumentError(f"a node is {type(node).__name__}; give LlamaIndex nodes")
    if KEY in node.metadata:
        raise DocumentError(
            f"node {node.node_id!r} has the metadata key {KEY!r}, which stands for what a node "
            "has beside its metadata; give the key another name"
        )
    fields = node.model_dump(mode="json", exclude={"embedding", "id_"}, exclude_defaults=True)
    metadata = fields.pop("metadata", {})
    kind = fields.pop("class_name")
    own = fields.pop("text", "")
    if isinstance(fields.get("text_resource"), dict):
        own = fields["text_resource"].pop("text", None) or ""
    text = node.get_content(metadata_mode=mode)
    if text != own:
        fields["own_text"] = own
    if fields or kind != TextNode.class_name():
        rest: dict[str, Any] = {"type": kind, "fields": json.dumps(fields)}
        if node.ref_doc_id is not None:
            rest["ref_doc_id"] = node.ref_doc_id
        metadata = metadata | {KEY: rest}
    return StoredDocument(text, id=node.node_id, metadata=metadata)


def node_of(id: str, text: str, metadata: dict[str, Any]) -> BaseNode:
    """Return the node that a document was made of; one that was made of none is a TextNode.

    A node of a class that is not LlamaIndex's own comes back as a TextNode.
    """
    rest = metadata.get(KEY)
    if not isinstance(rest, dict) or not isinstance(rest.get("fields"), str):
        return TextNode(id_=id, text=text, metadata=metadata)
    fields = json.loads(rest["fields"])
    text = fields.pop("own_text", text)
    kind = KINDS.get(rest["type"], TextNode)
    if issubclass(kind, Node):
        if "text_resource" in fields:
            fields["text_resource"]["text"] = text
    else:
        fields["text"] = text
    own = {key: value for key, value in metadata.items() if key != KEY}
    return kind.from_dict(fields | {"id_": id, "metadata": own})

"""Layouts: where other libraries keep a document's text and metadata in a point's payload.

LangChain's `QdrantVectorStore` (langchain-qdrant 1.1) writes the text under `page_content` and the
metadata as an object under `metadata`. LlamaIndex's (llama-index-vector-stores-qdrant 0.10) writes
the node as JSON text under `_node_content`, and its metadata once more beside it. Neither library
is imported here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from inbedder_retrieval.documents import Document
from inbedder_retrieval.errors import DocumentError, InputError

__all__ = ["LANGCHAIN", "LLAMA_INDEX", "Layout", "found_layout"]

NODE, KIND, TEXT_NODE = "_node_content", "_node_type", "TextNode"
SOURCES = ("document_id", "doc_id", "ref_doc_id")
# What LlamaIndex writes where a node was cut from no document.
NO_SOURCE = "None"


class Layout(BaseModel):
    """How a library lays out its payloads.

    Attributes:
        library: whose it is.
        text, metadata: the keys LangChain keeps them under; its users may choose others.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    library: Literal["langchain", "llama-index"]
    text: str = "page_content"
    metadata: str = "metadata"

    def read(self, id: str, payload: Mapping[str, Any]) -> Document | None:
        """Return the document that a payload holds; None where it holds no text.

        Raises:
            DocumentError: the metadata is none that can be stored.
        """
        try:
            if self.library == "langchain":
                text, metadata = payload.get(self.text), payload.get(self.metadata) or {}
                notes = None
            else:
                text, metadata, notes = _node(payload)
            return None if not isinstance(text, str) else Document(text, id, metadata, notes)
        except DocumentError as error:
            raise DocumentError(f"point {id} cannot be adopted: {error}") from error

    def written(self, document: Document) -> dict[str, Any]:
        """Return the payload by which the library reads a document."""
        if self.library == "langchain":
            return {self.text: document.text, self.metadata: document.metadata}
        metadata = document.metadata
        # What a node has beside text and metadata is in the notes, as llama-index-inbedder has it.
        rest = {"type": TEXT_NODE, "fields": "{}"} | document.notes
        node = json.loads(rest["fields"])
        text = node.pop("own_text", document.text)
        if "text_resource" in node:
            node["text_resource"]["text"] = text
        else:
            node["text"] = text
        node |= {"id_": document.id, "metadata": metadata, "class_name": rest["type"]}
        source = dict.fromkeys(SOURCES, rest.get("ref_doc_id") or NO_SOURCE)
        return metadata | {NODE: json.dumps(node), KIND: rest["type"]} | source


LANGCHAIN = Layout(library="langchain")
LLAMA_INDEX = Layout(library="llama-index")


def found_layout(payload: Mapping[str, Any], where: str) -> Layout:
    """Return the layout of a point's payload.

    Raises:
        InputError: it is neither library's.
    """
    if NODE in payload:
        return LLAMA_INDEX
    if isinstance(payload.get(LANGCHAIN.text), str):
        return LANGCHAIN
    raise InputError(
        f"{where} holds points with {', '.join(sorted(payload)) or 'nothing'} beside their "
        "vectors, which is not how LangChain or LlamaIndex writes them; give its layout, such as "
        "Layout(library='langchain', text='content')"
    )


def _node(payload: Mapping[str, Any]) -> tuple[str | None, dict[str, Any], dict[str, Any]]:
    """Return a node's text, its metadata, and what else it has."""
    try:
        node = json.loads(payload.get(NODE) or "null")
    except ValueError:
        node = None
    if not isinstance(node, dict):
        return None, {}, {}
    for key in ("id_", "embedding"):
        node.pop(key, None)
    metadata = node.pop("metadata", None) or {}
    kind = node.pop("class_name", None) or payload.get(KIND) or TEXT_NODE
    resource = node.get("text_resource")
    text = node.pop("text", None)
    if isinstance(resource, dict):
        text = resource.pop("text", None) or text
    rest = {"type": kind, "fields": json.dumps(node)}
    source = payload.get("ref_doc_id")
    if isinstance(source, str) and source != NO_SOURCE:
        rest["ref_doc_id"] = source
    return text, metadata, rest

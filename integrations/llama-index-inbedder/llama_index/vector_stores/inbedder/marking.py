"""EmbeddedByStore: a step of a pipeline that leaves the embedding to the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.schema import BaseNode, TransformComponent

__all__ = ["EmbeddedByStore"]


class EmbeddedByStore(TransformComponent):
    """Marks nodes as embedded, in place of an embedding, for an `InBedderVectorStore`.

    The store embeds every node under all its views itself, in one pass. LlamaIndex hands a store
    only nodes that have an embedding already, so without this step each is embedded once more,
    and that vector is not used. The mark is an empty vector, which any other store refuses.
    """

    @classmethod
    def class_name(cls) -> str:
        """The name by which LlamaIndex tells components apart."""
        return "EmbeddedByStore"

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Mark the nodes."""
        for node in nodes:
            node.embedding = []
        return nodes

"""A vector store with one vector per question and node, for LlamaIndex."""

from llama_index.vector_stores.inbedder.base import InBedderVectorStore
from llama_index.vector_stores.inbedder.marking import EmbeddedByStore

__all__ = ["EmbeddedByStore", "InBedderVectorStore"]

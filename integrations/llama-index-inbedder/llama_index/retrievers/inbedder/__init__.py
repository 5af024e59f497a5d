"""A retriever over one view or several, for LlamaIndex."""

from llama_index.retrievers.inbedder.base import InBedderRetriever

__all__ = ["InBedderRetriever"]

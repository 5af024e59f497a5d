"""Embeddings of texts under one question, for LlamaIndex."""

from llama_index.embeddings.inbedder.base import InBedderEmbedding

__all__ = ["InBedderEmbedding"]

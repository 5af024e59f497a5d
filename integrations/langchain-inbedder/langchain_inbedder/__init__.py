"""LangChain on inbedder_retrieval: one store, a vector for every question you ask of documents."""

from importlib.metadata import version as _version

from langchain_inbedder.embeddings import InBedderEmbeddings
from langchain_inbedder.filters import Filter
from langchain_inbedder.options import SearchOptions
from langchain_inbedder.place import Place
from langchain_inbedder.retriever import InBedderRetriever
from langchain_inbedder.router import ViewRouter
from langchain_inbedder.store import InBedderVectorStore
from langchain_inbedder.translator import InBedderTranslator

__version__ = _version("langchain-inbedder")

__all__ = [
    "Filter",
    "InBedderEmbeddings",
    "InBedderRetriever",
    "InBedderTranslator",
    "InBedderVectorStore",
    "Place",
    "SearchOptions",
    "ViewRouter",
    "__version__",
]

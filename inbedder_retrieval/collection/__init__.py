"""Documents with their views in Qdrant: a folder, memory or a server."""

from inbedder_retrieval.collection.collection import ViewCollection
from inbedder_retrieval.collection.connection import Connection
from inbedder_retrieval.collection.copies import copy_collection
from inbedder_retrieval.collection.filters import Where
from inbedder_retrieval.collection.index import IndexReport
from inbedder_retrieval.collection.layouts import Layout
from inbedder_retrieval.collection.origin import CopyReport
from inbedder_retrieval.collection.registry import CollectionInfo, ViewRecord
from inbedder_retrieval.collection.repair import Findings
from inbedder_retrieval.collection.storage import Storage

__all__ = [
    "CollectionInfo",
    "Connection",
    "CopyReport",
    "Findings",
    "IndexReport",
    "Layout",
    "Storage",
    "ViewCollection",
    "ViewRecord",
    "Where",
    "copy_collection",
]

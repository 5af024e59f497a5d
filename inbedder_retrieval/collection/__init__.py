"""Documents with their views in Qdrant: a folder, memory or a server."""

from inbedder_retrieval.collection.collection import ViewCollection
from inbedder_retrieval.collection.filters import Where
from inbedder_retrieval.collection.index import IndexReport
from inbedder_retrieval.collection.schema import CollectionInfo, ViewRecord

__all__ = ["CollectionInfo", "IndexReport", "ViewCollection", "ViewRecord", "Where"]

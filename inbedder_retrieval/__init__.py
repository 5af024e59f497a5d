"""Search by any question: the question is the instruction, the vector is the expected answer."""

from importlib.metadata import version as _version

from inbedder_retrieval.collection import (
    CollectionInfo,
    Connection,
    CopyReport,
    Findings,
    IndexReport,
    Layout,
    Storage,
    ViewCollection,
    ViewRecord,
    Where,
    copy_collection,
)
from inbedder_retrieval.documents import AnswerWord, Document, Hit, dates_as_text, text_as_dates
from inbedder_retrieval.embedder import Embedder
from inbedder_retrieval.embeddings import Embeddings, TextEmbedder
from inbedder_retrieval.errors import (
    CheckpointError,
    CollectionError,
    CollectionExists,
    CollectionLocked,
    CollectionNotFound,
    DeviceError,
    DocumentError,
    EngineError,
    ExportError,
    InbedderError,
    InputError,
    MissingExtraError,
    ModelError,
    ModelMismatch,
    ServerUnavailable,
    SourceError,
    TextError,
    UnknownView,
    ViewError,
    ViewNotReady,
)
from inbedder_retrieval.recipe import Recipe
from inbedder_retrieval.views import GENERAL, View, Views

__version__ = _version("inbedder-retrieval")

__all__ = [
    "GENERAL",
    "AnswerWord",
    "CheckpointError",
    "CollectionError",
    "CollectionExists",
    "CollectionInfo",
    "CollectionLocked",
    "CollectionNotFound",
    "Connection",
    "CopyReport",
    "DeviceError",
    "Document",
    "DocumentError",
    "Embedder",
    "Embeddings",
    "EngineError",
    "ExportError",
    "Findings",
    "Hit",
    "InbedderError",
    "IndexReport",
    "InputError",
    "Layout",
    "MissingExtraError",
    "ModelError",
    "ModelMismatch",
    "Recipe",
    "ServerUnavailable",
    "SourceError",
    "Storage",
    "TextEmbedder",
    "TextError",
    "UnknownView",
    "View",
    "ViewCollection",
    "ViewError",
    "ViewNotReady",
    "ViewRecord",
    "Views",
    "Where",
    "__version__",
    "copy_collection",
    "dates_as_text",
    "text_as_dates",
]

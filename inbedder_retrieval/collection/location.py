"""Locations: one string says where a collection is, and so which engine keeps it.

./support.inb           a folder: Qdrant Edge in this process
:memory:                nothing on disk: qdrant-client's local mode
http://host:6333/name   a Qdrant server, and the collection's name there
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inbedder_retrieval.collection.connection import DEFAULT_COLLECTION, Connection
from inbedder_retrieval.collection.engine import Engine
from inbedder_retrieval.collection.storage import Storage
from inbedder_retrieval.errors import (
    CollectionExists,
    CollectionNotFound,
    EngineError,
    InputError,
)

__all__ = ["create_engine", "is_server", "open_engine"]

MEMORY = ":memory:"
SERVER = ("http://", "https://")
# The file that marks a folder as a collection of the one engine or the other.
EDGE_MARK, LOCAL_MARK = "registry.json", "meta.json"
LOCAL_COLLECTION = DEFAULT_COLLECTION


def is_server(location: str | Path) -> bool:
    """Whether a location is a server's address."""
    return str(location).startswith(SERVER)


def create_engine(
    location: str | Path,
    vectors: Mapping[str, int],
    registry: Mapping[str, Any],
    *,
    storage: Storage | None = None,
    connection: Connection | None = None,
) -> Engine:
    """Create an empty collection with named vectors of the given widths, and open it.

    It appears whole, registry included, or not at all.

    Raises:
        CollectionExists: the location is taken; nothing there is touched.
        InputError: the storage is one that only a server has, and this is none.
        EngineError: the engine refused.
    """
    storage = storage or Storage()
    if storage.for_server_only and not is_server(location):
        raise InputError(
            f"{storage.for_server_only[0]} is for a Qdrant server, and {location} is none; leave "
            "it out"
        )
    if str(location) == MEMORY or is_server(location):
        from inbedder_retrieval.collection.client import ClientEngine

        return ClientEngine.create(str(location), vectors, registry, storage, connection)
    folder = _folder(location)
    try:
        if folder.is_file():
            raise CollectionExists(f"{folder} is a file; give a folder that does not exist yet")
        inside = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise EngineError(f"no collection can be created at {folder}: {error}") from error
    if inside:
        found = "a collection" if _folder_kind(folder) else f"other files ({inside[0]}, ...)"
        raise CollectionExists(
            f"{folder} already holds {found}; open it, or give a folder that does not exist yet"
        )
    if importlib.util.find_spec("qdrant_edge") is None:
        from inbedder_retrieval.collection.client import ClientEngine

        return ClientEngine.create(folder, vectors, registry, storage)
    from inbedder_retrieval.collection.edge import EdgeEngine

    return EdgeEngine.create(folder, vectors, registry, storage)


def open_engine(location: str | Path, *, connection: Connection | None = None) -> Engine:
    """Open the collection at a location.

    Raises:
        CollectionNotFound: there is none.
        CollectionLocked: another process, or another object in this one, holds the folder.
        EngineError: the engine refused, or the server does not answer.
    """
    if str(location) == MEMORY:
        raise CollectionNotFound(
            f"a collection in {MEMORY} lives as long as the object that created it; "
            "create one, or give a folder"
        )
    if is_server(location):
        from inbedder_retrieval.collection.client import ClientEngine

        return ClientEngine.open(str(location), connection)
    folder = _folder(location)
    try:
        there = folder.exists()
    except OSError as error:
        raise EngineError(f"no collection can be opened at {folder}: {error}") from error
    if not there:
        raise CollectionNotFound(f"there is no collection at {folder}; create it first")
    kind = _folder_kind(folder)
    if kind is None and (lost := _vectors_of(folder)):
        raise CollectionNotFound(
            f"{folder} is no collection any more: its {EDGE_MARK} is gone, which holds what its "
            f"views ask. The vectors {', '.join(lost)} are there still; put the file back from a "
            "copy, or index the documents anew elsewhere"
        )
    if kind is None:
        raise CollectionNotFound(
            f"{folder} is not a collection (it has neither {EDGE_MARK} nor {LOCAL_MARK}); "
            "give the folder a collection was created in"
        )
    if kind == "local":
        from inbedder_retrieval.collection.client import ClientEngine

        return ClientEngine.open(folder)
    if importlib.util.find_spec("qdrant_edge") is None:
        raise InputError(
            f"{folder} was written by Qdrant Edge, which has no build for this machine; "
            "copy the collection to a server from a machine that has one"
        )
    from inbedder_retrieval.collection.edge import EdgeEngine

    return EdgeEngine.open(folder)


def _folder(location: str | Path) -> Path:
    if str(location) == "":
        raise InputError("the location is empty; give a folder, :memory: or a server's address")
    if "://" in str(location):
        raise InputError(
            f"{str(location)!r} is neither a folder nor a server's address; "
            "an address begins with http:// or https://"
        )
    if "\0" in str(location):
        raise EngineError(f"no collection can be created at {str(location)!r}: no path holds NUL")
    return Path(location)


def _vectors_of(folder: Path) -> list[str]:
    """Name the vectors of an Edge shard that lies in a folder without its registry."""
    try:
        found = json.loads((folder / "shard" / "edge_config.json").read_bytes())
        return sorted(found["vectors"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _folder_kind(folder: Path) -> str | None:
    if (folder / EDGE_MARK).is_file():
        return "edge"
    try:
        # Others have files of this name too.
        found = json.loads((folder / LOCAL_MARK).read_bytes())
        return "local" if LOCAL_COLLECTION in found["collections"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None

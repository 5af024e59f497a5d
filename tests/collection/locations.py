"""Locations for tests: one of each engine."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from tests.collection.qdrant_server import QdrantServer

__all__ = ["KINDS", "a_location"]

# `rest` is qdrant-client's local mode behind a socket: it shows what is said to a server, and how
# its answers are read. `server` is Qdrant itself, where QDRANT_URL says that there is one.
KINDS = ["folder", "memory", "rest", "server"]


@contextmanager
def a_location(kind: str, parent: Path) -> Iterator[str | Path]:
    """Yield a place that holds nothing, on one kind of engine."""
    if kind == "folder":
        yield parent / "c.inb"
    elif kind == "memory":
        yield ":memory:"
    elif kind == "rest":
        with QdrantServer() as server:
            yield f"{server.url}/inbedder-test"
    else:
        url = os.environ.get("QDRANT_URL")
        if not url:
            pytest.skip("QDRANT_URL is not set, so there is no server to test on")
        name = f"inbedder-test-{uuid.uuid4().hex}"
        yield f"{url.rstrip('/')}/{name}"
        key = os.environ.get("QDRANT_API_KEY")
        client = QdrantClient(url=url, api_key=key, check_compatibility=False)
        client.delete_collection(name)
        client.close()

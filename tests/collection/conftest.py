"""A server that speaks Qdrant's REST API, and its gRPC port, for one test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from qdrant_client import QdrantClient

from tests.collection.qdrant_grpc import QdrantGrpc
from tests.collection.qdrant_server import QdrantServer


@pytest.fixture
def qdrant_server() -> Iterator[QdrantServer]:
    with QdrantServer() as server:
        yield server


@pytest.fixture
def rest_client(qdrant_server: QdrantServer) -> Iterator[QdrantClient]:
    client = QdrantClient(url=qdrant_server.url, check_compatibility=False)
    yield client
    client.close()


@pytest.fixture
def qdrant_grpc(qdrant_server: QdrantServer) -> Iterator[QdrantGrpc]:
    with QdrantGrpc(qdrant_server) as server:
        yield server

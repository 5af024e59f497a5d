"""Dialling: a client of qdrant-client for the server at a location, over gRPC or REST."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import TypeVar

from inbedder_retrieval.collection.connection import Connection, ServerAddress, server_address
from inbedder_retrieval.errors import InputError

__all__ = ["dial"]

REST_PORT, GRPC_PORT, PROBE_SECONDS = 6333, 6334, 0.5

Client = TypeVar("Client")


def dial(kind: Callable[..., Client], location: str, connection: Connection) -> Client:
    """Return a client of this kind for the server at a location; nothing is asked of it yet."""
    address = server_address(location)
    try:
        return kind(
            url=address.url,
            port=address.port,
            timeout=connection.timeout,
            prefer_grpc=_has_grpc(address, connection),
            api_key=os.environ.get("QDRANT_API_KEY"),
            # The check would warn on a server that does not answer; the first call says so.
            check_compatibility=False,
        )
    except ValueError as error:
        raise InputError(
            f"{location!r} is no server address; write http://host:6333/collection"
        ) from error


def _has_grpc(address: ServerAddress, connection: Connection) -> bool:
    if connection.grpc is not None:
        return connection.grpc
    if address.port != REST_PORT:
        # Another server may have the port for gRPC.
        return False
    try:
        with socket.create_connection((address.host, GRPC_PORT), timeout=PROBE_SECONDS):
            return True
    except OSError:
        return False

"""The line to Qdrant: a client of qdrant-client, asked with patience.

A request to a server that restarts or is too busy is made again, after a while. Local mode is not
thread-safe, so there one thread speaks at a time.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from qdrant_client import AsyncQdrantClient, QdrantClient

from inbedder_retrieval.collection.connection import (
    Connection,
    ServerAddress,
    pauses,
    server_address,
)
from inbedder_retrieval.collection.location import is_server
from inbedder_retrieval.collection.refusals import is_passing, local_errors, translated
from inbedder_retrieval.errors import InputError

__all__ = ["Line"]

REST_PORT, PROBE_SECONDS = 6333, 0.5


class Line:
    """A client, blocking or asynchronous, with where it leads."""

    def __init__(
        self,
        client: QdrantClient | AsyncQdrantClient,
        where: str,
        connection: Connection | None = None,
    ) -> None:
        self.where = where
        self.connection = connection or Connection()
        self._client = client
        self._lock = nullcontext() if is_server(where) else threading.RLock()

    @classmethod
    def to_local(cls, location: str | Path) -> Line:
        """Open local mode in memory or in a folder."""
        if not isinstance(location, Path):
            return cls(QdrantClient(location), location)
        with local_errors(location):
            return cls(QdrantClient(path=str(location)), str(location))

    @classmethod
    def to_server(
        cls,
        kind: Callable[..., QdrantClient | AsyncQdrantClient],
        location: str,
        connection: Connection,
    ) -> Line:
        """Make a client of this kind for the server at a location; nothing is asked of it yet."""
        return cls(_dial(kind, location, connection), location, connection)

    async def ask(
        self, action: str, method: str, *given: Any, patience: float | None = None, **named: Any
    ) -> Any:
        """Call a method of the client, again while a server does not answer.

        Raises:
            EngineError: the server refused, or did not answer for as long as patience lasts.
        """
        wait = self.connection.patience if patience is None else patience
        tries = pauses(wait) if is_server(self.where) else iter(())
        while True:
            try:
                with self._lock:
                    answer = getattr(self._client, method)(*given, **named)
                    return await answer if inspect.isawaitable(answer) else answer
            except Exception as error:
                pause = next(tries, None) if is_passing(error) else None
                if pause is None:
                    raise translated(error, action, self.where) from error
            await self.sleep(pause)

    async def sleep(self, seconds: float) -> None:
        """Wait, without holding an event loop."""
        if isinstance(self._client, AsyncQdrantClient):
            await asyncio.sleep(seconds)
        else:
            time.sleep(seconds)

    async def close(self) -> None:
        """Close the client."""
        closed = self._client.close()
        if inspect.isawaitable(closed):
            await closed


def _dial(
    kind: Callable[..., QdrantClient | AsyncQdrantClient], location: str, connection: Connection
) -> QdrantClient | AsyncQdrantClient:
    address = server_address(location)
    try:
        return kind(
            url=address.url,
            port=address.port,
            timeout=connection.timeout,
            prefer_grpc=_has_grpc(address, connection),
            grpc_port=connection.grpc_port,
            # A channel that has lost its server looks for it again after a second; we sooner.
            grpc_options={"grpc.initial_reconnect_backoff_ms": 200},
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
        place = (address.host, connection.grpc_port)
        with socket.create_connection(place, timeout=PROBE_SECONDS):
            return True
    except OSError:
        return False

"""The test server's gRPC side: Qdrant's own services over the same data, port beside port.

    with QdrantServer() as server, QdrantGrpc(server) as grpc_server:
        client = QdrantClient(url=server.url, grpc_port=grpc_server.port, prefer_grpc=True)

Faults are those of the REST server; there a request's method is `GRPC`
and its path `/qdrant.Points/Upsert`. A cut shows as gRPC's UNAVAILABLE.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

import grpc

from tests.collection.qdrant_messages import SERVICES, Respond
from tests.collection.qdrant_server import QdrantServer, Request
from tests.collection.qdrant_shards import Refused

CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    409: grpc.StatusCode.ALREADY_EXISTS,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
}
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class QdrantGrpc:
    """The gRPC port of a test server."""

    def __init__(self, owner: QdrantServer, *, port: int = 0) -> None:
        self.owner = owner
        self.port = port
        self._server: Any = None
        self._workers: ThreadPoolExecutor | None = None
        self._stopping = threading.Event()

    def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        if self._server is not None:
            return
        self._stopping.clear()
        self._workers = ThreadPoolExecutor(max_workers=8)
        self._server = grpc.server(self._workers, options=UNLIMITED)
        for service, (servicer, register, table) in SERVICES.items():
            served = servicer()
            for name, respond in table.items():
                setattr(served, name, self._handler(f"/{service}/{name}", respond))
            register(served, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()

    def stop(self) -> None:
        """Close the port and every connection; answers under way are lost."""
        server, self._server = self._server, None
        if server is None or self._workers is None:
            return
        self._stopping.set()
        server.stop(grace=None).wait()
        self._workers.shutdown()

    def __enter__(self) -> QdrantGrpc:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _handler(self, path: str, respond: Respond) -> Callable[[Any, Any], Any]:
        def handle(message: Any, context: Any) -> Any:
            given = dict(context.invocation_metadata())
            fault = self.owner.take(Request("GRPC", path, given, message))
            self._check_key(path, given, context)
            answered = None
            if fault is None or fault.done:
                answered = self._answer(respond, message, context)
            if fault is not None and fault.kind == "hang":
                if self._stopping.wait(fault.seconds):
                    context.abort(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
            elif fault is not None and fault.kind == "cut":
                context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            elif fault is not None:
                context.set_trailing_metadata(
                    tuple((name.lower(), value) for name, value in fault.headers.items())
                )
                code = CODES.get(fault.status, grpc.StatusCode.INTERNAL)
                context.abort(code, f"a fault was set: {fault.status}")
            return self._answer(respond, message, context) if answered is None else answered

        return handle

    def _check_key(self, path: str, given: dict[str, str], context: Any) -> None:
        key = self.owner.api_key
        if key is None or path == "/qdrant.Qdrant/HealthCheck":
            return
        sent = given.get("api-key") or given.get("authorization", "").removeprefix("Bearer ")
        if sent != key:
            reason = "Must provide an API key or an Authorization bearer token"
            context.abort(CODES[401], "Invalid API key or JWT" if sent else reason)

    def _answer(self, respond: Respond, message: Any, context: Any) -> Any:
        try:
            with self.owner.store.lock:
                return respond(self.owner.store, message)
        except Refused as error:
            context.abort(CODES.get(error.status, grpc.StatusCode.INTERNAL), str(error))
        except ValueError as error:
            # What the conversions cannot read.
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))

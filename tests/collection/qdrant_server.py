"""A server for the tests that speaks Qdrant's REST API over a real socket.

Behind it is qdrant-client's own local mode, so it is no stand-in for a Qdrant server's engine. It
proves what we send and read in Qdrant's own JSON; how errors, time-outs, cut connections and
restarts are handled; and that the async client does the same as the other.

    with QdrantServer() as server:
        client = QdrantClient(url=server.url)
        server.fail(1, status=503)

A fault takes the next `times` requests whose "METHOD /path" its pattern finds; the pattern passes
over `GET /`, by which a new client asks for the version in a thread of its own. With `done` the
work is done before the fault shows, without it is not. Faults come in the order they were set.

`python -m tests.collection.qdrant_server 6333` runs one until it is interrupted.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic_core import to_json

from tests.collection.qdrant_routes import answer
from tests.collection.qdrant_shards import Refused
from tests.collection.qdrant_store import Store

# What a server takes in one request unless it is told otherwise.
REQUEST_BYTES = 32 << 20
OPEN_PATHS = {"/", "/healthz", "/livez", "/readyz"}
ANY = r" /."


class Request(NamedTuple):
    """A request as it came in; `path` is unquoted, `body` is parsed JSON."""

    method: str
    path: str
    query: dict[str, str]
    body: Any


@dataclass
class Fault:
    """What goes wrong with some of the next requests."""

    kind: str
    times: int
    match: str
    done: bool
    status: int = 0
    seconds: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)


class QdrantServer:
    """One server, its data and its faults; data outlives `stop` and `start`."""

    def __init__(self, *, port: int = 0, api_key: str | None = None) -> None:
        self.store = Store()
        self.api_key = api_key
        self.requests: list[Request] = []
        self.port = port
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._listener: _Listener | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        if self._listener is not None:
            return
        self._listener = _Listener(self)
        self.port = self._listener.server_address[1]
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        """Close the port and every connection; answers under way are lost."""
        listener, self._listener = self._listener, None
        if listener is None or self._thread is None:
            return
        listener.stopping.set()
        listener.shutdown()
        self._thread.join()
        listener.socket.close()
        listener.cut_connections()
        # Waits for the threads of all connections.
        listener.server_close()

    def __enter__(self) -> QdrantServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def fail(
        self,
        times: int,
        *,
        status: int = 503,
        match: str = ANY,
        done: bool = False,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Answer with a status; a 429 wants a `Retry-After` header."""
        self._add(Fault("fail", times, match, done, status=status, headers=headers or {}))

    def hang(self, times: int, seconds: float, *, match: str = ANY, done: bool = False) -> None:
        """Wait before the answer; without `done` the work comes after the wait."""
        self._add(Fault("hang", times, match, done, seconds=seconds))

    def cut(self, times: int, *, match: str = ANY, done: bool = True) -> None:
        """Close the connection in the middle of the answer."""
        self._add(Fault("cut", times, match, done))

    def heal(self) -> None:
        """Drop the faults that no request has met."""
        with self._lock:
            self._faults.clear()

    def _add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def take(self, request: Request) -> Fault | None:
        """Note a request, and return the fault it meets."""
        with self._lock:
            self.requests.append(request)
            for fault in self._faults:
                if fault.times > 0 and re.search(fault.match, f"{request.method} {request.path}"):
                    fault.times -= 1
                    return fault
        return None


class _Listener(ThreadingHTTPServer):
    """The listening socket and its connections."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, owner: QdrantServer) -> None:
        self.owner = owner
        self.stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", owner.port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def cut_connections(self) -> None:
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that hung up is no error of the server; all else was answered with a 500.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _handle(self) -> None:
        owner = self.server.owner
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.command, unquote(url.path), query, _parsed(content))
        fault = owner.take(request)
        answered: tuple[int, bytes] | None = None
        if fault is None or fault.done:
            answered = self._answer(url.path, query, content)
        if fault is not None and fault.kind == "hang":
            if self.server.stopping.wait(fault.seconds):
                self.close_connection = True
                return
        elif fault is not None and fault.kind == "fail":
            answered = (fault.status, _refusal(f"a fault was set: {fault.status}"))
        elif fault is not None:
            self._cut(answered)
            return
        if answered is None:
            answered = self._answer(url.path, query, content)
        self._send(*answered, fault.headers if fault is not None else {})

    # The names that http.server calls.
    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _handle  # noqa: N815

    def _answer(self, path: str, query: dict[str, str], content: bytes) -> tuple[int, bytes]:
        key = self.server.owner.api_key
        given = self.headers.get("api-key") or (
            self.headers.get("Authorization") or ""
        ).removeprefix("Bearer ")
        if key is not None and path not in OPEN_PATHS and given != key:
            # A server says this in plain text.
            reason = "Invalid API key or JWT" if given else "Must provide an API key or an "
            return 401, (reason if given else reason + "Authorization bearer token").encode()
        if path in OPEN_PATHS - {"/"}:
            return 200, f"{path[1:]} check passed".encode()
        if len(content) > REQUEST_BYTES:
            return 400, _refusal(
                f"Payload error: JSON payload ({len(content)} bytes) is larger than allowed "
                f"(limit: {REQUEST_BYTES} bytes)."
            )
        try:
            with self.server.owner.store.lock:
                result = answer(self.server.owner.store, self.command, path, query, content)
                if isinstance(result, bytes):
                    return 200, result
                envelope = {"status": "ok", "time": 0.0}
                return 200, to_json(result | envelope if isinstance(result, dict) else result)
        except Refused as error:
            return error.status, _refusal(str(error))
        except Exception as error:
            return 500, _refusal(f"Service internal error: {error!r}")

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _cut(self, answered: tuple[int, bytes] | None) -> None:
        """Promise more than is sent."""
        self.close_connection = True
        status, content = answered or (200, b"{}")
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content) if content else None
    except ValueError:
        return content


def _refusal(reason: str) -> bytes:
    return to_json({"status": {"error": reason}, "time": 0.0})


if __name__ == "__main__":
    with QdrantServer(port=int(sys.argv[1])), suppress(KeyboardInterrupt):
        threading.Event().wait()

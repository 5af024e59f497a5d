"""Refusals: what qdrant-client raises, as errors of this package, and which of it passes.

A server that restarts or is too busy answers later; all else stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import (
    ApiException,
    ResponseHandlingException,
    UnexpectedResponse,
)

from inbedder_retrieval.collection.location import is_server
from inbedder_retrieval.errors import (
    CollectionLocked,
    EngineError,
    InbedderError,
    ServerUnavailable,
)

__all__ = ["is_passing", "local_errors", "translated"]

# HTTP: too many requests, bad gateway, unavailable, gateway timed out.
BUSY = (429, 502, 503, 504)
BUSY_GRPC = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)
# Local mode raises these where a server answers with a status; the client itself does where an
# answer is not one of Qdrant's.
BUILT_IN = (RuntimeError, ValueError, KeyError, AssertionError)
DENIED_GRPC = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


def is_passing(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, UnexpectedResponse):
        return error.status_code in BUSY
    if isinstance(error, grpc.RpcError):
        return error.code() in BUSY_GRPC
    if isinstance(error, ResponseHandlingException):
        # The source is httpx's own error where nothing came back, and another's where what came
        # back is no answer of Qdrant's.
        return type(error.source).__module__.split(".")[0] == "httpx"
    return isinstance(error, ResourceExhaustedResponse)


def translated(error: Exception, action: str, where: str) -> InbedderError:
    """Return what to raise for what qdrant-client raised."""
    if isinstance(error, InbedderError):
        return error
    kind = ServerUnavailable if is_passing(error) else EngineError
    denied = "; set QDRANT_API_KEY to a key the server accepts"
    if isinstance(error, UnexpectedResponse):
        hint = denied if error.status_code in (401, 403) else ""
        return kind(f"could not {action}; Qdrant says: {_words(error)}{hint}")
    if isinstance(error, grpc.RpcError):
        hint = denied if error.code() in DENIED_GRPC else ""
        if error.code() in BUSY_GRPC:
            hint = "; start it, or check the address"
        return kind(f"could not {action} at {where}; Qdrant says: {error.details()}{hint}")
    if isinstance(error, ResponseHandlingException):
        return kind(
            f"could not {action}: no Qdrant server answers at {where} ({error.source}); "
            "start it, or check the address"
        )
    if isinstance(error, (ApiException, QdrantException, *BUILT_IN)):
        at = f" at {where}" if is_server(where) else ""
        return kind(f"could not {action}{at}; Qdrant says: {error}")
    raise error


def _words(error: UnexpectedResponse) -> str:
    """Return what the server says, without the frame it says it in."""
    said = f"{error.status_code} {error.reason_phrase}"
    try:
        return f"{said}: {error.structured()['status']['error']}"
    except (ValueError, KeyError, TypeError):
        # A proxy answers as it likes, and Qdrant itself in plain text where a key is missing.
        text = error.content.decode(errors="replace").strip()
        return f"{said}: {text[:200]}" if text else said


@contextmanager
def local_errors(folder: Path) -> Iterator[None]:
    """Raise what local mode says of a folder as CollectionLocked or EngineError."""
    try:
        yield
    except RuntimeError as error:
        raise CollectionLocked(
            f"could not open {folder}: it is held by another process, or by another object in "
            "this one (the lock is on .lock in it); close that first (a folder has one user at a "
            "time, a server many)"
        ) from error
    except OSError as error:
        raise EngineError(f"could not open {folder}: {error}") from error

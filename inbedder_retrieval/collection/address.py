"""The address of a collection on a Qdrant server: http://host:6333/name."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from inbedder_retrieval.errors import InputError

__all__ = ["DEFAULT_COLLECTION", "ServerAddress", "server_address"]

# The collection's name where the location gives none.
DEFAULT_COLLECTION = "inbedder"


@dataclass(frozen=True)
class ServerAddress:
    """Where a server is, and the name of the collection there."""

    url: str
    port: int
    collection: str


def server_address(location: str) -> ServerAddress:
    """Read a location that begins with http:// or https://.

    Raises:
        InputError: it is no address, or holds a user or password.
    """
    wrong = InputError(f"{location!r} is no server address; write http://host:6333/collection")
    try:
        parts = urlsplit(location)
        port = parts.port
    except ValueError as error:
        raise wrong from error
    collection = parts.path.strip("/") or DEFAULT_COLLECTION
    if "@" in parts.netloc:
        raise InputError(
            f"the address of {parts.hostname} holds a user or password; leave them out, and "
            "set QDRANT_API_KEY to the server's key"
        )
    if not parts.hostname or "/" in collection:
        raise wrong
    return ServerAddress(
        url=f"{parts.scheme}://{parts.netloc}",
        port=port or (443 if parts.scheme == "https" else 6333),
        collection=collection,
    )

"""The connection to a Qdrant server: its address, http://host:6333/name, and our patience."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from inbedder_retrieval.errors import InputError

__all__ = ["DEFAULT_COLLECTION", "Connection", "ServerAddress", "pauses", "server_address"]

# The collection's name where the location gives none.
DEFAULT_COLLECTION = "inbedder"
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 4.0


@dataclass(frozen=True)
class Connection:
    """How a server is spoken to.

    Attributes:
        timeout: seconds that one request may take.
        patience: seconds for which a request is tried again while the server does not answer, or
            is too busy (429, 502, 503, 504). Every write may be repeated without harm. The first
            request of all is not: a wrong address is said at once.
        grpc: whether to use gRPC. None uses it where the address has Qdrant's own port 6333 and
            the port for gRPC is open.
        grpc_port: the port for gRPC.
    """

    timeout: float = 60.0
    patience: float = 30.0
    grpc: bool | None = None
    grpc_port: int = 6334

    def __post_init__(self) -> None:
        for name in ("timeout", "patience"):
            seconds = getattr(self, name)
            number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
            # 0 is a patience, and no time to answer in.
            if not number or not (0 if name == "patience" else 1e-3) <= seconds < 1e6:
                raise InputError(f"the {name} is {seconds!r}; give a number of seconds")


@dataclass(frozen=True)
class ServerAddress:
    """Where a server is, and the name of the collection there."""

    url: str
    host: str
    port: int
    collection: str


def pauses(patience: float) -> Iterator[float]:
    """Yield the seconds to wait before each further try, each longer, `patience` in all.

    They are spread at random, so that many clients do not come back at once.
    """
    pause, left = FIRST_PAUSE, patience
    while left > 0:
        waited = min(left, pause * random.uniform(0.5, 1.0))
        yield waited
        left -= waited
        pause = min(2 * pause, LONGEST_PAUSE)


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
        host=parts.hostname,
        port=port or (443 if parts.scheme == "https" else 6333),
        collection=collection,
    )

"""Requests to a server: points in parts that it takes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from inbedder_retrieval.collection.engine import Point

__all__ = ["requests_of", "size_of"]

# A server takes 32 MiB in one request unless it is told otherwise; a number is about so long.
REQUEST_BYTES, NUMBER_BYTES = 16 << 20, 22


def requests_of(points: Sequence[Point]) -> Iterator[list[Point]]:
    """Cut points into requests that a server takes, one point at least."""
    batch: list[Point] = []
    size = 0
    for point in points:
        own = size_of(point)
        if batch and size + own > REQUEST_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(point)
        size += own
    if batch:
        yield batch


def size_of(point: Point) -> int:
    """Return about how many bytes a point takes as JSON."""
    numbers = sum(len(vector) for vector in point.vectors.values())
    return numbers * NUMBER_BYTES + len(json.dumps(point.payload))

"""A small collection for the tests of the test servers."""

from __future__ import annotations

from typing import Any

import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

NAME = "some texts ä"
COSINE = models.Distance.COSINE
QUERY = [0.5, -0.25, 2.0, 1.0]


def a_collection(client: QdrantClient, **options: Any) -> None:
    vectors = {"a": models.VectorParams(size=4, distance=COSINE)}
    client.create_collection(NAME, vectors_config=vectors, **options)


def some_points(count: int = 3) -> list[models.PointStruct]:
    return [
        models.PointStruct(id=n, vector={"a": QUERY}, payload={"n": n, "k": "xy"[n % 2]})
        for n in range(count)
    ]


def status_of(call: Any, *args: Any, **given_: Any) -> tuple[int | None, str]:
    with pytest.raises(UnexpectedResponse) as caught:
        call(*args, **given_)
    return caught.value.status_code, caught.value.structured()["status"]["error"]

"""A collection over gRPC: the same as over REST, by either client."""

from __future__ import annotations

import asyncio

import pytest

from inbedder_retrieval import (
    Connection,
    Document,
    EngineError,
    Storage,
    View,
    ViewCollection,
    Views,
)
from inbedder_retrieval.testing import FakeEmbedder
from tests.collection.qdrant_grpc import QdrantGrpc
from tests.collection.qdrant_server import QdrantServer

TONE = View("tone", "Is it polite?")


@pytest.fixture
def connection(qdrant_grpc: QdrantGrpc) -> Connection:
    return Connection(grpc=True, grpc_port=qdrant_grpc.port, timeout=10, patience=10)


def points_asked(server: QdrantServer) -> set[str]:
    return {request.method for request in server.requests if "/qdrant.Points/" in request.path}


def test_a_collection_does_over_grpc_what_it_does_over_rest(
    qdrant_server: QdrantServer,
    connection: Connection,
    views: Views,
    documents: list[Document],
    fake: FakeEmbedder,
) -> None:
    place = f"{qdrant_server.url}/c"
    storage = Storage(quantization="scalar", hnsw_m=8, tenant="owner")
    owned = [Document(d.text, id=d.id, metadata=d.metadata | {"owner": "acme"}) for d in documents]
    with ViewCollection.create(
        place, views, fake, storage=storage, connection=connection
    ) as collection:
        assert collection.add(owned).added == len(owned)
        assert collection.add(owned).unchanged == len(owned)
        assert collection.add_view(TONE) == len(owned)
        collection.rename_view("tone", "manner")
        assert collection.rebuild_view(View("manner", "Is it rude?")) == len(owned)
        relabelled = Document(owned[0].text, id=owned[0].id, metadata={"owner": "bolt", "n": 1})
        assert collection.add([relabelled]).relabelled == 1
        assert collection.delete(filter={"product": "chair"}) > 0
        weights = {"manner": 1.0, "need": 0.5}
        over_grpc = collection.search("love the lamp", views=weights, filter={"owner": "acme"})
        assert points_asked(qdrant_server) == {"GRPC"}
        with ViewCollection.open(place, fake) as over_rest:
            assert over_rest.info() == collection.info()
            assert over_rest.get(["d0", "d1"]) == collection.get(["d0", "d1"])
            expected = over_rest.search("love the lamp", views=weights, filter={"owner": "acme"})
            assert {h.id: h.score for h in over_grpc} == pytest.approx(
                {hit.id: hit.score for hit in expected}, abs=1e-6
            )
        collection.drop_view("manner")
        assert collection.views == views


def test_the_calls_for_asyncio_go_over_grpc_too(
    qdrant_server: QdrantServer,
    connection: Connection,
    views: Views,
    documents: list[Document],
    fake: FakeEmbedder,
) -> None:
    async def work() -> None:
        place = f"{qdrant_server.url}/c"
        async with ViewCollection.create(place, views, fake, connection=connection) as found:
            assert (await found.aadd(documents)).added == len(documents)
            [hit] = await found.asearch("love the lamp", view="need", limit=1)
            assert hit.id == "d2"
            assert await found.acount() == len(documents)

    asyncio.run(work())


def test_a_server_that_is_busy_is_asked_again_and_one_that_is_gone_is_an_error(
    qdrant_server: QdrantServer,
    connection: Connection,
    qdrant_grpc: QdrantGrpc,
    views: Views,
    fake: FakeEmbedder,
) -> None:
    place = f"{qdrant_server.url}/c"
    with ViewCollection.create(place, views, fake, connection=connection) as collection:
        qdrant_server.fail(1, status=503, match="GRPC /qdrant.Points/Upsert")
        assert collection.add([Document("a lamp", id=1)]).added == 1
        assert collection.count() == 1
    hasty = Connection(grpc=True, grpc_port=qdrant_grpc.port, timeout=1, patience=0.2)
    with ViewCollection.open(place, fake, connection=hasty) as collection:
        qdrant_grpc.stop()
        with pytest.raises(EngineError, match="could not search at http"):
            collection.search("x", view="need")

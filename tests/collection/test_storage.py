"""How vectors are kept: what a server is told, tenants and their shards, quantized folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from qdrant_client import QdrantClient

from inbedder_retrieval import (
    Document,
    DocumentError,
    EngineError,
    InputError,
    Storage,
    ViewCollection,
    Views,
    Where,
)
from inbedder_retrieval.collection.flow import run
from inbedder_retrieval.testing import FakeEmbedder
from tests.collection.qdrant_server import QdrantServer

VIEW = {"need": "What is needed?"}


def test_a_server_is_told_everything(qdrant_server: QdrantServer, fake: FakeEmbedder) -> None:
    storage = Storage(
        quantization="turbo",
        on_disk=True,
        hnsw_m=24,
        hnsw_ef_construct=200,
        tenant="customer",
        shard_number=3,
        replication_factor=2,
        write_consistency_factor=2,
    )
    place = f"{qdrant_server.url}/c"
    with ViewCollection.create(place, VIEW, fake, storage=storage) as collection:
        assert collection.info().storage == storage
        collection.add_view({"tone": "Is it polite?"})
    client = QdrantClient(url=qdrant_server.url, check_compatibility=False)
    about = client.get_collection("c")
    vectors = about.config.params.vectors
    assert isinstance(vectors, dict)
    assert [params.on_disk for params in vectors.values()] == [True, True]
    assert (about.config.hnsw_config.m, about.config.hnsw_config.ef_construct) == (24, 200)
    assert about.config.quantization_config is not None
    assert about.config.quantization_config.model_dump(exclude_none=True) == {
        "turbo": {"bits": "bits4"}
    }
    params = about.config.params
    assert (params.shard_number, params.replication_factor) == (3, 2)
    assert params.write_consistency_factor == 2
    tenant = about.payload_schema["metadata.customer"].params
    assert tenant is not None
    assert tenant.model_dump()["is_tenant"] is True
    client.close()
    with ViewCollection.open(place, fake) as collection:
        assert collection.info().storage == storage


@pytest.mark.parametrize("kind", ["scalar", "binary"])
def test_the_other_quantizations_are_told_too(
    qdrant_server: QdrantServer, fake: FakeEmbedder, kind: Any
) -> None:
    place = f"{qdrant_server.url}/c"
    ViewCollection.create(place, VIEW, fake, storage=Storage(quantization=kind)).close()
    [body] = [
        r.body for r in qdrant_server.requests if (r.method, r.path) == ("PUT", "/collections/c")
    ]
    assert list(body["quantization_config"]) == [kind]


TENANTS = Storage(tenant="customer", shard_per_tenant=True)


def of(customer: Any, text: str, name: str) -> Document:
    return Document(text, id=name, metadata={"customer": customer})


def test_each_tenant_has_shards_of_its_own(qdrant_server: QdrantServer, fake: FakeEmbedder) -> None:
    place = f"{qdrant_server.url}/c"
    rows = [of(("acme", "bolt")[n % 2], f"text {n}", str(n)) for n in range(10)]
    with ViewCollection.create(place, VIEW, fake, storage=TENANTS) as collection:
        assert collection.add(rows).added == 10
        stored = run(collection._store.engine.retrieve(_points(rows), ["id"]))
        assert {point.payload["id"]: point.shard for point in stored.values()} == {
            row.id: row.metadata["customer"] for row in rows
        }
        qdrant_server.requests.clear()
        hits = collection.search("text 4", limit=10, filter={"customer": "acme"})
        assert sorted(hit.id for hit in hits) == ["0", "2", "4", "6", "8"]
        [asked] = [r.body for r in qdrant_server.requests if r.path.endswith("/points/query")]
        assert asked["shard_key"] == "acme"
        assert len(collection.search("text 4", limit=10)) == 10
        assert collection.add_view({"tone": "Is it polite?"}) == 10
        assert len(collection.search("text 4", view="tone", limit=20)) == 10
        # Another customer's now: it moves, and is there once.
        moved = of("bolt", "text 0", "0")
        assert collection.add([moved]).updated == 1
        assert collection.count() == 10
        assert collection.get(["0"]) == [moved]
        relabelled = Document("text 2", id="2", metadata={"customer": "acme", "n": 2})
        assert collection.add([relabelled]).relabelled == 1
        assert collection.delete(filter={"customer": "bolt"}) == 6
        assert collection.delete(["2", "4"]) == 2
        assert collection.count() == 2


def test_a_document_that_changes_its_tenant_is_kept_where_its_text_is_refused(
    qdrant_server: QdrantServer, fake: FakeEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"{qdrant_server.url}/c"
    with ViewCollection.create(place, VIEW, fake, storage=TENANTS) as collection:
        collection.add([of("acme", "a text", "0")])

        def failing(*_: object) -> None:
            raise RuntimeError("out of memory")

        with monkeypatch.context() as patch:
            patch.setattr(fake, "embed", failing)
            with pytest.raises(RuntimeError, match="out of memory"):
                collection.add([of("bolt", "another text", "0")])
        assert collection.get(["0"]) == [of("acme", "a text", "0")]


def _points(rows: list[Document]) -> list[str]:
    from inbedder_retrieval.collection.schema import point_id

    return [point_id(row.id) for row in rows]


@pytest.mark.parametrize("customer", [None, "", 7, ["acme"]])
def test_a_document_without_its_tenant_is_refused(fake: FakeEmbedder, customer: Any) -> None:
    with ViewCollection.create(":memory:", VIEW, fake, storage=Storage(tenant="customer")) as found:
        with pytest.raises(DocumentError, match=r"document '1' has customer=.*needs it, as text"):
            found.add([of("acme", "a", "0"), of(customer, "b", "1")])
        assert found.count() == 0


def test_what_only_a_server_has_is_refused_elsewhere(tmp_path: Path, fake: FakeEmbedder) -> None:
    for place in (tmp_path / "c.inb", ":memory:"):
        with pytest.raises(InputError, match="replication_factor is for a Qdrant server, and"):
            ViewCollection.create(place, VIEW, fake, storage=Storage(replication_factor=2))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", [{"quantization": "tiny"}, {"hnsw_m": -1}, {"shards": 2}])
def test_a_storage_that_cannot_be_is_refused(bad: Any) -> None:
    with pytest.raises(ValidationError):
        Storage(**bad)


@pytest.mark.parametrize("kind", [None, "scalar", "binary", "turbo"])
def test_an_optimized_folder_finds_what_comparing_with_all_finds(tmp_path: Path, kind: Any) -> None:
    """Enough vectors that Edge builds graphs: 20,000 kilobytes of them."""
    fake = FakeEmbedder(dimension=256)
    words = [f"w{n}" for n in range(40)]
    random = np.random.default_rng(3)
    texts = [" ".join(random.choice(words, size=4)) for _ in range(12_000)]
    views = Views.of({"general": None})
    with ViewCollection.create(
        tmp_path / "c.inb", views, fake, storage=Storage(quantization=kind, hnsw_m=16)
    ) as collection:
        collection.add(Document(text, id=n) for n, text in enumerate(texts))
        queries = [" ".join(random.choice(words, size=4)) for _ in range(20)]
        before = [collection.search(query, limit=10, exact=True) for query in queries]
        seen: list[float] = []
        recalled: list[float] = []
        collection.optimize(progress=seen.append)
        assert seen == sorted(seen)
        files = [path.name for path in (tmp_path / "c.inb").rglob("*")]
        assert any("graph" in name for name in files), "the graph was built"
        assert any("quantized" in name for name in files) == (kind is not None)
        for query, expected in zip(queries, before, strict=True):
            exact = collection.search(query, limit=10, exact=True)
            scores = [hit.score for hit in exact]
            assert scores == pytest.approx([hit.score for hit in expected], abs=1e-5)
            least = expected[-1].score
            near = {hit.id for hit in expected if hit.score > least + 1e-6}
            found = {hit.id for hit in collection.search(query, limit=10)}
            recalled.append(len(found & near) / len(near))
    # A bit for a number loses some of the nearest; the others hardly any.
    assert np.mean(recalled) >= (0.6 if kind == "binary" else 0.9)


def test_views_added_to_a_folder_later_lie_on_disk_like_those_before_them(
    tmp_path: Path, fake: FakeEmbedder
) -> None:
    storage = Storage(on_disk=True, quantization="scalar", hnsw_m=24)
    folder = tmp_path / "c.inb"

    def config() -> Any:
        return json.loads((folder / "shard" / "edge_config.json").read_text())

    with ViewCollection.create(folder, VIEW, fake, storage=storage) as collection:
        collection.add([Document("a lamp"), Document("a bowl")])
        before = config()
        assert collection.add_view({"tone": "Is it polite?"}) == 2
        assert [one["on_disk"] for one in config()["vectors"].values()] == [True, True]
        # What was not said anew is as it was.
        for key in ("hnsw_config", "quantization_config"):
            assert config()[key] == before[key] is not None
        assert [hit.text for hit in collection.search("a bowl", view="tone", limit=1)] == ["a bowl"]
        collection.optimize()
        kept = [json.loads(file.read_text()) for file in folder.rglob("segment.json")]
        kinds = [
            vector["storage_type"]
            for one in kept
            for vector in one["config"]["vector_data"].values()
        ]
        assert set(kinds) == {"ChunkedMmap"}
        assert len(collection.search("a bowl", views={"tone": 1, "need": 1})) == 2
    with ViewCollection.open(folder, fake) as again:
        assert [one["on_disk"] for one in config()["vectors"].values()] == [True, True]
        again.drop_view("tone")
        assert again.count() == 2


def test_an_alias_goes_over_from_one_collection_to_another(
    qdrant_server: QdrantServer, fake: FakeEmbedder
) -> None:
    with (
        ViewCollection.create(f"{qdrant_server.url}/old", VIEW, fake) as old,
        ViewCollection.create(f"{qdrant_server.url}/new", VIEW, fake) as new,
    ):
        old.add([Document("a", id=1)])
        new.add([Document("b", id=2), Document("c", id=3)])
        old.alias("live")
        with ViewCollection.open(f"{qdrant_server.url}/live", fake) as live:
            assert live.count() == 1
            new.alias("live")
            assert sorted(hit.id for hit in live.search("b")) == ["2", "3"]
            live.add_view({"tone": "Is it polite?"})
            live.alias("also")
        assert new.info().views[-1].name == "tone"
        with ViewCollection.open(f"{qdrant_server.url}/also", fake) as also:
            assert also.snapshot().startswith("new-")


def test_only_a_server_has_aliases_and_snapshots(tmp_path: Path, fake: FakeEmbedder) -> None:
    for place in (tmp_path / "c.inb", ":memory:"):
        with ViewCollection.create(place, VIEW, fake) as collection:
            with pytest.raises(EngineError, match="server"):
                collection.alias("live")
            with pytest.raises(EngineError, match="server"):
                collection.snapshot()


def test_a_server_that_is_too_old_is_said_to_be(
    qdrant_server: QdrantServer, fake: FakeEmbedder
) -> None:
    ViewCollection.create(f"{qdrant_server.url}/c", VIEW, fake).close()
    qdrant_server.store.version = "1.17.3"
    with pytest.raises(EngineError, match=r"is Qdrant 1\.17\.3; .*version 1\.18 or newer"):
        ViewCollection.open(f"{qdrant_server.url}/c", fake)


@pytest.mark.parametrize(("version", "match"), [("1.18.2", "text"), ("1.20.0", "substring")])
def test_a_text_match_is_asked_as_the_server_knows_it(
    qdrant_server: QdrantServer, fake: FakeEmbedder, version: str, match: str
) -> None:
    """A match of text is one of substrings up to 1.19.0, where there is no text index."""
    qdrant_server.store.version = version
    with ViewCollection.create(f"{qdrant_server.url}/c", VIEW, fake) as collection:
        qdrant_server.requests.clear()
        collection.count(Where.field("city").matches("eed"))
        [body] = [request.body for request in qdrant_server.requests]
    assert f"'match': {{'{match}': 'eed'}}" in str(body)

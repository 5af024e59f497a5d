from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import models

from inbedder_retrieval import (
    CollectionExists,
    CollectionNotFound,
    Document,
    DocumentError,
    Embeddings,
    InputError,
    ModelMismatch,
    ViewCollection,
    ViewError,
    Views,
    Where,
)
from inbedder_retrieval.collection.adopt import adopt_collection, as_adopted
from inbedder_retrieval.collection.flow import run
from inbedder_retrieval.collection.layouts import Layout
from inbedder_retrieval.collection.location import open_engine
from inbedder_retrieval.collection.registry import Registry
from inbedder_retrieval.collection.store import Known, Store
from inbedder_retrieval.testing import FakeEmbedder
from inbedder_retrieval.views import ViewsLike
from tests.collection.qdrant_server import QdrantServer
from tests.collection.theirs import (
    KETTLE,
    LIBRARIES,
    NAME,
    QUESTIONS,
    TENT,
    THANKS,
    WRITTEN,
    Theirs,
)


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["folder", "rest"])
def theirs(
    request: pytest.FixtureRequest, library: str, tmp_path: Path, qdrant_server: QdrantServer
) -> Theirs:
    return Theirs(library, tmp_path / "q" if request.param == "folder" else None, qdrant_server)


def same(
    one: dict[str, tuple[dict[str, Any], list[float]]],
    other: dict[str, tuple[dict[str, Any], list[float]]],
) -> bool:
    return one.keys() == other.keys() and all(
        one[id][0] == other[id][0] and np.allclose(one[id][1], other[id][1], atol=1e-6)
        for id in one
    )


def test_their_documents_are_found_under_our_questions(theirs: Theirs) -> None:
    embedder = FakeEmbedder()
    before = theirs.stored()
    with theirs.adopt(embedder) as collection:
        assert collection.count() == 3
        for view, question in QUESTIONS.items():
            hits = collection.search("thank you", view=view)
            vectors = embedder.embed([TENT, KETTLE, THANKS, "thank you"], {view: question})[view]
            wanted = dict(zip([TENT, KETTLE, THANKS], vectors[:3] @ vectors[3], strict=True))
            assert [hit.text for hit in hits] == sorted(wanted, key=lambda text: -wanted[text])
            assert hits[0].id == theirs.ids[THANKS]
            for hit in hits:
                assert hit.score == pytest.approx(wanted[hit.text], abs=1e-5)
        both = collection.search("thank you", views={"general": 0.5, "need": 0.5})
        assert both[0].text == THANKS
    assert same(theirs.stored(), before)


def test_ids_and_metadata_are_theirs(theirs: Theirs) -> None:
    with theirs.adopt(FakeEmbedder()) as collection:
        [tent, thanks] = collection.get([theirs.ids[TENT], theirs.ids[THANKS]])
        assert (tent.text, thanks.text) == (TENT, THANKS)
        metadata = WRITTEN[theirs.library][1 if theirs.library == "langchain" else 0]["payload"]
        if theirs.library == "langchain":
            assert tent.metadata == metadata["metadata"]
        else:
            assert tent.metadata == json.loads(metadata["_node_content"])["metadata"]
            assert tent.metadata["id"] == "mine"
            assert tent.notes["ref_doc_id"] == "letter-1"
        cheap = collection.search("kettle", view="general", filter={"price": {"lt": 6}})
        assert [hit.text for hit in cheap] == [TENT]
        listed = collection.search("kettle", view="general", filter={"tags": "b"})
        assert [hit.text for hit in listed] == [TENT if theirs.library == "langchain" else THANKS]
        assert collection.count(~Where.ids([theirs.ids[TENT]])) == 2
        assert set(collection.vectors(theirs.ids.values(), "need")) == set(theirs.ids.values())
        like = collection.search(like=[theirs.ids[THANKS]], view="general")
        assert like[0].text == KETTLE
        pages = collection.scroll(limit=2)
        more = collection.scroll(limit=2, after=pages[1])
        assert {one.id for one in pages[0] + more[0]} == set(theirs.ids.values())
        assert more[1] is None


def test_adopting_again_embeds_and_changes_nothing(theirs: Theirs) -> None:
    embedder = FakeEmbedder()
    theirs.adopt(embedder).close()
    seen, before = embedder.texts_seen, theirs.stored()
    assert seen == 3
    with theirs.adopt(embedder) as collection:
        assert [record.state for record in collection.info().views] == ["ready", "ready"]
    theirs.adopt(embedder, None).close()
    assert embedder.texts_seen == seen
    assert same(theirs.stored(), before)


def test_adopting_again_writes_nothing(library: str, qdrant_server: QdrantServer) -> None:
    theirs = Theirs(library, None, qdrant_server)
    theirs.adopt(FakeEmbedder()).close()
    qdrant_server.requests.clear()
    theirs.adopt(FakeEmbedder()).close()
    writes = [
        request
        for request in qdrant_server.requests
        if request.path.endswith("/points/batch") or request.method in ("PATCH", "DELETE")
    ]
    assert qdrant_server.requests
    assert writes == []


def test_a_point_whose_payload_they_replaced_is_not_seen_until_it_is_adopted_again(
    theirs: Theirs,
) -> None:
    theirs.adopt(FakeEmbedder()).close()
    point = copy.deepcopy(WRITTEN[theirs.library][0])
    with theirs.client() as client:
        client.overwrite_payload(NAME, point["payload"], points=[point["id"]])
    if theirs.folder is None:
        plain = open_engine(theirs.location)
        engine = as_adopted(plain, run(plain.read_registry()))
        registry = Registry.from_entries(run(plain.read_registry()), "there")
        store = Store("there", engine, Known(registry))
        store.use(FakeEmbedder())
        with ViewCollection(store) as collection:
            assert len(collection.search("kettle", view="general")) == collection.count() == 2
    with theirs.adopt(FakeEmbedder()) as collection:
        assert len(collection.search("kettle", view="general")) == collection.count() == 3


def test_what_they_write_and_change_meanwhile_is_taken_in(theirs: Theirs) -> None:
    embedder = FakeEmbedder()
    theirs.adopt(embedder).close()
    point = copy.deepcopy(WRITTEN[theirs.library][0])
    old = theirs.text(point["payload"])
    changed = json.loads(json.dumps(point).replace(old, "where are my shoes"))
    fresh = json.loads(json.dumps(point).replace(old, "a lamp is missing"))
    fresh["id"] = 99
    theirs.write([changed, fresh])
    with theirs.client() as client:
        # Their own update of the payload alone leaves our vectors of the old text behind.
        other = copy.deepcopy(WRITTEN[theirs.library][1])
        text = theirs.text(other["payload"])
        payload = json.loads(json.dumps(other["payload"]).replace(text, "no lid on the pot"))
        client.set_payload(NAME, payload, points=[other["id"]])
    seen = embedder.texts_seen
    with theirs.adopt(embedder) as collection:
        assert embedder.texts_seen == seen + 3
        for text, id in (
            ("where are my shoes", str(point["id"])),
            ("a lamp is missing", "99"),
            ("no lid on the pot", str(other["id"])),
        ):
            [hit] = collection.search(text, view="need", limit=1)
            assert (hit.text, hit.id) == (text, id)
            assert hit.score == pytest.approx(1.0, abs=1e-5)


class Failing(FakeEmbedder):
    """A fake that fails on a text."""

    fails = True

    def embed(self, texts: Iterable[str], views: ViewsLike) -> Embeddings:
        texts = list(texts)
        if self.fails and KETTLE in texts:
            raise RuntimeError("out of memory")
        return super().embed(texts, views)


def test_an_interrupted_adoption_is_finished_by_the_same_call(theirs: Theirs) -> None:
    embedder = Failing()
    before = theirs.stored()
    with pytest.raises(RuntimeError, match="out of memory"):
        theirs.adopt(embedder)
    assert same(theirs.stored(), before)
    embedder.fails = False
    with theirs.adopt(embedder, None) as collection:
        assert [record.state for record in collection.info().views] == ["ready", "ready"]
        assert collection.search(KETTLE, view="need")[0].text == KETTLE


def test_views_come_and_go_beside_their_vectors(theirs: Theirs) -> None:
    before = theirs.stored()
    with theirs.adopt(FakeEmbedder()) as collection:
        assert collection.add_view({"feeling": "How does the customer feel?"}) == 3
        assert collection.search(TENT, view="feeling")[0].text == TENT
        assert collection.rebuild_view({"need": "What is needed?"}) == 3
        assert collection.search(TENT, view="need")[0].text == TENT
        collection.drop_view("feeling")
    assert same(theirs.stored(), before)


def test_documents_written_here_are_read_by_them(theirs: Theirs) -> None:
    vectors = {id: vector for id, (_, vector) in theirs.stored().items()}
    layout = Layout(library=theirs.library)  # type: ignore[arg-type]
    with theirs.adopt(FakeEmbedder()) as collection:
        [tent] = collection.get([theirs.ids[TENT]])
        report = collection.add(
            [
                Document("a new tent came", theirs.ids[TENT], {"stars": 4}, tent.notes),
                Document("a lamp", id="lamp", metadata={"price": 3}),
                Document("a pot", id="12", metadata={}),
            ]
        )
        assert (report.updated, report.added) == (1, 2)
        assert collection.search("a new tent came", view="need")[0].id == theirs.ids[TENT]
        assert collection.search(like=["lamp"], view="need", limit=1)
        again = Document("a lamp", id="lamp", metadata={"price": 4})
        assert collection.add([again]).relabelled == 1
        assert collection.get(["lamp", "12"])[0] == again
    stored = theirs.stored()
    assert len(stored) == 5
    read = {id: layout.read(id, payload) for id, (payload, _) in stored.items()}
    tent_read = read[theirs.ids[TENT]]
    assert tent_read is not None
    assert tent_read.text == "a new tent came"
    assert tent_read.metadata == {"stars": 4}
    assert tent_read.notes == tent.notes
    assert "price" not in stored[theirs.ids[TENT]][0]
    assert np.allclose(stored[theirs.ids[TENT]][1], vectors[theirs.ids[TENT]])
    assert read["12"] is not None
    assert read["12"].text == "a pot"
    embedder = FakeEmbedder()
    with theirs.adopt(embedder) as collection:
        # What was written here has changed nothing for us.
        assert embedder.texts_seen == 0
        assert collection.count() == 5
        assert collection.get(["lamp"]) == [again]


def test_adopting_again_keeps_ids_and_notes_of_what_was_written_here(theirs: Theirs) -> None:
    """Their payloads hold neither such an id nor, with LangChain, any notes."""
    notes = {"dates": [["when"]], "aside": "kept"}
    letter = Document("a letter came", "letter-1", {"when": "2024-01-02", "stars": 4}, notes)
    with theirs.adopt(FakeEmbedder()) as collection:
        collection.add([letter])
    with theirs.adopt(FakeEmbedder()) as collection:
        assert collection.get(["letter-1"]) == [letter]
    with theirs.client() as client:
        [point] = [one for one in client.scroll(NAME)[0] if "a letter" in json.dumps(one.payload)]
        payload = json.loads(json.dumps(point.payload).replace("a letter", "no letter"))
        payload["inbedder"] = (point.payload or {})["inbedder"]
        client.set_payload(NAME, payload, points=[point.id])
    with theirs.adopt(FakeEmbedder()) as collection:
        [found] = collection.get(["letter-1"])
        assert found.text == "no letter came"
        assert found.metadata == letter.metadata
        assert notes.items() <= found.notes.items()
        assert collection.search("no letter came", view="need", limit=1)[0].id == "letter-1"
        assert collection.delete(["letter-1"]) == 1


def test_their_vectors_are_no_orphans(theirs: Theirs) -> None:
    before = theirs.stored()
    with theirs.adopt(FakeEmbedder()) as collection:
        found = collection.check()
        assert found.orphans == []
        collection.repair(found.model_copy(update={"orphans": [""]}), delete=True)
    after = theirs.stored()
    assert all(np.allclose(after[id][1], vector) for id, (_, vector) in before.items())


def test_documents_are_deleted_with_their_points(theirs: Theirs) -> None:
    with theirs.adopt(FakeEmbedder()) as collection:
        assert collection.delete([theirs.ids[TENT], "none"]) == 1
        assert collection.delete(filter=Where.field("price") > 10) == 1
        assert [one.text for one in collection.scroll()[0]] == [KETTLE]
    assert set(theirs.stored()) == {theirs.ids[KETTLE]}


def test_points_that_are_not_adopted_are_left_alone(theirs: Theirs) -> None:
    with theirs.adopt(FakeEmbedder()) as collection:
        pass
    theirs.write([{"id": 500, "payload": {"else": 1}, "vector": [1.0, 0.0, 0.0, 0.0]}])
    with theirs.adopt(FakeEmbedder()) as collection:
        assert collection.count() == 3
        assert len(collection.search("kettle", view="general")) == 3
        assert collection.clear() == 3
    assert set(theirs.stored()) == {"500"}


def test_an_adopted_collection_is_read_as_one_when_it_is_opened(
    library: str, qdrant_server: QdrantServer
) -> None:
    theirs = Theirs(library, None, qdrant_server)
    with theirs.adopt(FakeEmbedder()) as collection:
        wanted = collection.get(theirs.ids.values())
    plain = open_engine(theirs.location)
    engine = as_adopted(plain, run(plain.read_registry()))
    assert engine is not plain
    found = run(engine.scroll(["id", "text"], limit=9))[0]
    assert {point.payload["id"] for point in found} == {one.id for one in wanted}
    run(engine.close())
    # One of our own is read as ever.
    with ViewCollection.create(":memory:", QUESTIONS, FakeEmbedder()):
        pass
    assert as_adopted(plain, {}) is plain


def test_the_calls_for_asyncio_do_the_same(library: str, qdrant_server: QdrantServer) -> None:
    theirs = Theirs(library, None, qdrant_server)

    async def calls() -> None:
        async with theirs.adopt(FakeEmbedder()) as collection:
            [hit] = await collection.asearch("thank you", view="need", limit=1)
            assert hit.id == theirs.ids[THANKS]
            [tent] = await collection.aget([theirs.ids[TENT]])
            assert tent.text == TENT
            assert (await collection.aadd([Document("a lamp", id="lamp")])).added == 1
            assert await collection.acount({"price": 5}) == 1

    asyncio.run(calls())


def test_keys_of_ones_own_are_read_where_they_are_told(qdrant_server: QdrantServer) -> None:
    theirs = Theirs("langchain", None, qdrant_server)
    with theirs.client() as client:
        client.delete(NAME, models.FilterSelector(filter=models.Filter()))
    theirs.write([{"id": 1, "payload": {"body": TENT, "about": {"a": 1}}, "vector": [1, 0, 0, 0]}])
    with pytest.raises(InputError, match="points with about, body beside their vectors"):
        theirs.adopt(FakeEmbedder())
    layout = Layout(library="langchain", text="body", metadata="about")
    with theirs.adopt(FakeEmbedder(), layout=layout) as collection:
        assert collection.get(["1"]) == [Document(TENT, id="1", metadata={"a": 1})]
    with theirs.adopt(FakeEmbedder()) as collection:
        assert collection.get(["1"]) == [Document(TENT, id="1", metadata={"a": 1})]


def test_what_cannot_be_adopted_is_refused_and_left_alone(
    tmp_path: Path, qdrant_server: QdrantServer
) -> None:
    embedder = FakeEmbedder()
    theirs = Theirs("langchain", tmp_path / "q", qdrant_server)

    def adopt(location: str | Path, name: str | None = None, views: Any = QUESTIONS) -> None:
        asked = None if views is None else Views.of(views)
        run(adopt_collection(location, asked, embedder, name=name))

    with pytest.raises(InputError, match="a folder needs a name"):
        adopt(tmp_path / "q")
    with pytest.raises(InputError, match="a server's address ends in it"):
        adopt(f"{qdrant_server.url}/x", NAME)
    with pytest.raises(CollectionNotFound, match="has no collection 'other'"):
        adopt(tmp_path / "q", "other")
    with pytest.raises(CollectionNotFound, match="there is no folder"):
        adopt(tmp_path / "none", NAME)
    with pytest.raises(InputError, match="has no views yet"):
        adopt(tmp_path / "q", NAME, None)
    with ViewCollection.create(f"{qdrant_server.url}/ours", QUESTIONS, embedder):
        pass
    with pytest.raises(CollectionExists, match="a collection of this package already"):
        adopt(f"{qdrant_server.url}/ours")
    theirs.adopt(embedder).close()
    with pytest.raises(ViewError, match="asks 'What does the customer need\\?'"):
        theirs.adopt(embedder, {"need": "What?"})
    with pytest.raises(ModelMismatch):
        theirs.adopt(FakeEmbedder(seed=1))
    with theirs.client() as client:
        client.delete_collection(NAME)
        plain = models.VectorParams(size=4, distance=models.Distance.COSINE)
        client.create_collection(NAME, vectors_config=plain)
    with pytest.raises(InputError, match="there is nothing to adopt"):
        theirs.adopt(embedder)
    number = {"page_content": "a", "metadata": {"n": 2**70}}
    theirs.write([{"id": 1, "payload": number, "vector": [1, 0, 0, 0]}])
    with pytest.raises(DocumentError, match=r"point 1 cannot be adopted: .* beyond 64 bits"):
        theirs.adopt(embedder)


def test_an_adopted_collection_is_opened_like_any_other(
    library: str, qdrant_server: QdrantServer
) -> None:
    theirs = Theirs(library, None, qdrant_server)
    fake = FakeEmbedder()
    with ViewCollection.adopt(theirs.location, QUESTIONS, fake) as adopted:
        expected = adopted.search(TENT, view="need")
        assert expected[0].text == TENT
    with ViewCollection.open(theirs.location, fake) as opened:
        assert [hit.id for hit in opened.search(TENT, view="need")] == [hit.id for hit in expected]
        assert opened.get([expected[0].id])[0].text == TENT
        opened.add([Document("a new text", id="12345678-1234-5678-1234-567812345678")])
        assert opened.count() == adopted_count(theirs) == len(expected) + 1


def adopted_count(theirs: Theirs) -> int:
    with theirs.client() as client:
        return client.count(NAME).count

"""ViewCollection: opening, reading, deleting, and keeping what it acknowledged."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inbedder_retrieval import (
    CheckpointError,
    CollectionError,
    CollectionExists,
    CollectionLocked,
    CollectionNotFound,
    Document,
    DocumentError,
    Embedder,
    EngineError,
    InputError,
    ModelMismatch,
    UnknownView,
    ViewCollection,
    ViewError,
    Views,
)
from inbedder_retrieval.testing import FakeEmbedder


@pytest.fixture
def kept(tmp_path: Path, views: Views, documents: list[Document]) -> Path:
    """A closed collection in a folder, with `documents`."""
    with ViewCollection.create(tmp_path / "c.inb", views, FakeEmbedder()) as collection:
        collection.add(documents)
    return tmp_path / "c.inb"


def test_what_was_closed_is_opened_as_it_was(
    kept: Path, views: Views, documents: list[Document]
) -> None:
    with ViewCollection.open(str(kept), FakeEmbedder()) as collection:
        assert collection.views == views
        assert collection.get(d.id for d in documents) == documents
        assert collection.add(documents).unchanged == 8
        hit = collection.search("love the lamp", view="feeling", limit=1)[0]
        assert hit.id == "d2"
        assert hit.score == pytest.approx(1, abs=1e-6)


def test_a_collection_is_read_without_its_model(kept: Path, documents: list[Document]) -> None:
    with ViewCollection.open(kept) as collection:
        assert collection.count({"product": "lamp"}) == 2
        assert collection.get(["d2"]) == [documents[2]]
        assert collection.delete(["d2"]) == 1
        assert collection.info().documents == 7
        with pytest.raises(CheckpointError, match="no model 'fake'"):
            collection.search("love the lamp", view="feeling")


def test_without_an_embedder_the_model_it_was_created_with_is_loaded(
    tmp_path: Path, packaged: Embedder
) -> None:
    question = {"feeling": "How does the customer feel?"}
    with ViewCollection.create(tmp_path / "c.inb", question, packaged) as collection:
        collection.add([Document("I love this lamp", id=1), Document("It is broken again", id=2)])
    with ViewCollection.open(tmp_path / "c.inb") as collection:
        assert collection.embedder.fingerprint == packaged.fingerprint
        assert collection.search("so happy with it")[0].id == "1"


@pytest.mark.parametrize(
    ("embedder", "message"),
    [
        (FakeEmbedder(seed=1), r"'general' was written by fake \(fingerprint fake-0-32\)"),
        (FakeEmbedder(dimension=16), "holds vectors of 32 numbers by fake, and fake makes 16"),
    ],
)
def test_another_model_is_refused_before_anything_is_touched(
    kept: Path, views: Views, documents: list[Document], embedder: FakeEmbedder, message: str
) -> None:
    registry = (kept / "registry.json").read_bytes()
    with pytest.raises(ModelMismatch, match=message):
        ViewCollection.open(kept, embedder)
    with pytest.raises(ModelMismatch, match=message):
        ViewCollection.open_or_create(kept, views, embedder)
    assert (kept / "registry.json").read_bytes() == registry
    assert embedder.texts_seen == 0
    with ViewCollection.open(kept, FakeEmbedder()) as collection:
        assert collection.get(d.id for d in documents) == documents


@pytest.mark.parametrize("content", ["{}", "[]", '{"inbedder": {"format": 2}}', "{"])
def test_an_unreadable_registry_is_refused_and_the_folder_let_go(kept: Path, content: str) -> None:
    registry = (kept / "registry.json").read_bytes()
    (kept / "registry.json").write_text(content)
    with pytest.raises(CollectionError, match=f"{kept}.*(cannot be read|newer)"):
        ViewCollection.open(kept, FakeEmbedder())
    (kept / "registry.json").write_bytes(registry)
    ViewCollection.open(kept, FakeEmbedder()).close()


def test_open_or_create_opens_what_there_is_and_creates_what_there_is_not(
    tmp_path: Path, fake: FakeEmbedder, views: Views
) -> None:
    place = tmp_path / "c.inb"
    with pytest.raises(CollectionNotFound, match=r"or name its views, such as"):
        ViewCollection.open_or_create(place, None, fake)
    assert list(tmp_path.iterdir()) == []
    with ViewCollection.open_or_create(place, views, fake) as collection:
        collection.add([Document("red lamp", id=1)])
    for asked in (None, views, views["need"]):
        with ViewCollection.open_or_create(place, asked, fake) as collection:
            assert (collection.count(), collection.views) == (1, views)
    with ViewCollection.open_or_create(":memory:", views, fake) as collection:
        assert collection.count() == 0


def test_open_or_create_refuses_other_views_and_lets_the_folder_go(
    kept: Path, fake: FakeEmbedder
) -> None:
    with pytest.raises(ViewError, match=r"has no view 'mood' \(it has general, feeling, need\)"):
        ViewCollection.open_or_create(kept, {"mood": "What is the mood?"}, fake)
    with pytest.raises(ViewError, match=r"'need' .*asks 'What does the customer need\?', not"):
        ViewCollection.open_or_create(kept, {"need": "What is needed?"}, fake)
    ViewCollection.open(kept, fake).close()


def test_a_held_collection_is_locked_for_every_way_in(kept: Path, views: Views) -> None:
    with ViewCollection.open(kept, FakeEmbedder()):
        with pytest.raises(CollectionLocked, match="has one user at a time"):
            ViewCollection.open(kept, FakeEmbedder())
        with pytest.raises(CollectionLocked, match="has one user at a time"):
            ViewCollection.open_or_create(kept, views, FakeEmbedder())
        with pytest.raises(CollectionExists, match="already holds a collection"):
            ViewCollection.create(kept, views, FakeEmbedder())


def test_views_that_cannot_be_leave_no_folder(tmp_path: Path, tiny: Embedder) -> None:
    impossible: list[Any] = [{}, {"need": ""}, {"need": "why " * 200}]
    for views in impossible:
        with pytest.raises(ViewError, match=r"view|question"):
            ViewCollection.create(tmp_path / "c.inb", views, tiny)
    assert list(tmp_path.iterdir()) == []


def test_ids_of_every_kind_name_one_document(collection: ViewCollection) -> None:
    key = uuid.uuid4()
    names: list[object] = [
        7,
        -1,
        2**63 - 1,
        key,
        "größe 日本",
        "a/b\\c",
        "x" * 100_000,
        " a ",
        "0\0",
    ]
    collection.add(Document(f"text {n}", id=name) for n, name in enumerate(names))
    assert collection.count() == len(names)
    assert [d.id for d in collection.get(names)] == [str(name) for name in names]
    assert [d.text for d in collection.get(["7", str(key)])] == ["text 0", "text 3"]
    # Composed and decomposed letters, and what looks like a number, are other ids.
    assert collection.get(["gro\u0308ße 日本", "07", "7.0", "a"]) == []
    assert collection.delete(iter(names)) == len(names)


def test_documents_without_an_id_are_named_by_what_they_hold(collection: ViewCollection) -> None:
    twins = [Document("red lamp", metadata={"a": 1, "b": 2}), Document("red lamp")]
    assert collection.add(twins).added == 2
    again = Document("red lamp", metadata={"b": 2, "a": 1})
    assert collection.add([again]).unchanged == 1
    assert collection.get([again.id]) == [twins[0]]


def test_get_keeps_the_order_asked_and_leaves_out_the_unknown(
    collection: ViewCollection, documents: list[Document]
) -> None:
    collection.add(documents)
    asked = ["d3", "nothing", "d0", "d3", "D0"]
    assert collection.get(asked) == [documents[3], documents[0], documents[3]]
    assert collection.get(name for name in ("d7", "d6")) == [documents[7], documents[6]]
    assert collection.get([]) == []


def test_delete_takes_those_named_and_says_how_many_there_were(
    collection: ViewCollection, documents: list[Document]
) -> None:
    collection.add(documents)
    assert collection.delete(["d1", "d3", "d1", "nothing"]) == 2
    assert collection.delete(["d1"]) == 0
    assert collection.delete([]) == 0
    assert collection.count() == 6
    left = ["d0", "d2", "d4", "d5", "d6", "d7"]
    assert [d.id for d in collection.get(d.id for d in documents)] == left
    assert sorted(hit.id for hit in collection.search("the phone", view="need")) == left
    assert collection.add(documents).added == 2


def test_nothing_is_deleted_where_nothing_or_too_much_is_named(
    collection: ViewCollection, documents: list[Document]
) -> None:
    collection.add(documents)
    for ids, where in ((None, None), (["d1"], {"product": "lamp"})):
        with pytest.raises(InputError, match=r"name what to delete: ids, .*, or a filter, and not"):
            collection.delete(ids, filter=where)
    with pytest.raises(DocumentError, match=r"the filter is \{\}"):
        collection.delete(filter={})
    assert collection.count() == len(documents)


def test_documents_are_deleted_by_a_filter(
    collection: ViewCollection, documents: list[Document]
) -> None:
    collection.add(documents)
    assert collection.delete(filter={"product": "lamp"}) == 2
    left = [d.id for d in documents if d.metadata.get("product") != "lamp"]
    assert sorted(hit.id for hit in collection.search("the lamp", view="need")) == left
    assert collection.delete(filter={"product": "lamp"}) == 0


def test_every_document_is_read_page_by_page(
    collection: ViewCollection, documents: list[Document]
) -> None:
    collection.add(documents)
    read: list[Document] = []
    after: str | None = None
    for _ in range(3):
        page, after = collection.scroll(limit=3, after=after)
        read += page
    assert after is None
    assert sorted(read, key=lambda document: document.id) == documents
    lamps, _ = collection.scroll(filter={"product": "lamp"})
    assert sorted(document.id for document in lamps) == ["d2", "d3"]
    with pytest.raises(InputError, match="the limit is 0"):
        collection.scroll(limit=0)
    with pytest.raises(InputError, match="after is 'zzz'"):
        collection.scroll(after="zzz")


def test_stored_vectors_are_those_that_were_embedded(
    collection: ViewCollection, documents: list[Document], fake: FakeEmbedder
) -> None:
    collection.add(documents)
    found = collection.vectors(["d3", "nobody", "d1"], "need")
    assert list(found) == ["d3", "d1"]
    texts = [documents[3].text, documents[1].text]
    expected = fake.embed(texts, collection.views["need"])["need"]
    np.testing.assert_allclose(np.stack(list(found.values())), expected, atol=1e-6)
    with pytest.raises(UnknownView):
        collection.vectors(["d1"], "mood")


def test_all_is_deleted_only_by_name(collection: ViewCollection, documents: list[Document]) -> None:
    collection.add(documents)
    assert collection.clear() == len(documents)
    assert collection.count() == 0
    assert collection.add(documents).added == len(documents)


@pytest.mark.parametrize("ids", ["d1", b"d1"])
def test_ids_that_are_no_list_are_refused(
    collection: ViewCollection, documents: list[Document], ids: Any
) -> None:
    collection.add(documents)
    with pytest.raises(InputError, match=r"ids is .*give a list of ids"):
        collection.delete(ids)
    with pytest.raises(InputError, match=r"ids is .*give a list of ids"):
        collection.get(ids)
    assert collection.count() == 8


@pytest.mark.parametrize("one", [None, True, 1.0, b"d1", "", "  ", ["d1"], "\ud83d"])
def test_one_unusable_id_deletes_nothing(
    collection: ViewCollection, documents: list[Document], one: object
) -> None:
    collection.add(documents)
    with pytest.raises(DocumentError, match=r"id (is|holds)"):
        collection.delete(["d0", one])
    with pytest.raises(DocumentError, match=r"id (is|holds)"):
        collection.get(["d0", one])
    assert collection.count() == 8


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inside, max_size=3)
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module", params=["folder", "memory"])
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ViewCollection]:
    folder = tmp_path_factory.mktemp("metadata") / "c.inb"
    location = folder if request.param == "folder" else ":memory:"
    with ViewCollection.create(location, {"general": None}, FakeEmbedder()) as collection:
        yield collection


@settings(max_examples=40, deadline=None)
@given(
    text=st.text(st.characters(codec="utf-8")),
    metadata=st.dictionaries(st.text(st.characters(codec="utf-8")), json_values, max_size=4),
)
def test_text_and_metadata_come_back_exactly(
    shared: ViewCollection, text: str, metadata: dict[str, Any]
) -> None:
    document = Document(text, id="one", metadata=metadata)
    shared.delete(["one"])
    shared.add([document])
    found = shared.get(["one"])[0]
    assert found.text == text
    # JSON text tells 1 from 1.0 and True, and 0.0 from -0.0, where == does not.
    assert json.dumps(found.metadata, sort_keys=True) == json.dumps(metadata, sort_keys=True)
    hit = shared.search(text, limit=1)[0]
    assert (hit.text, json.dumps(hit.metadata)) == (text, json.dumps(found.metadata))
    assert shared.add([document]).unchanged == 1


def test_metadata_as_deep_as_is_allowed_comes_back(collection: ViewCollection) -> None:
    deep: Any = "bottom"
    for _ in range(16):
        deep = [{"down": deep}]
    collection.add([Document("x", id=1, metadata={"a": deep})])
    assert collection.get([1])[0].metadata == {"a": deep}
    with pytest.raises(DocumentError, match="nested more than 32 levels"):
        Document("x", metadata={"a": [deep]})


def test_info_describes_the_collection(
    collection: ViewCollection, documents: list[Document], views: Views
) -> None:
    collection.add(documents)
    collection.search("x", view="need", filter={"maker.name": "oak", "product": "chair"})
    info = collection.info()
    assert info.documents == 8
    assert [record.view for record in info.views] == list(views)
    assert {(r.model, r.fingerprint, r.dimension, r.state) for r in info.views} == {
        ("fake", "fake-0-32", 32, "ready")
    }
    indexed = ["maker.name", "product"]
    if info.location == ":memory:":
        assert (info.engine.split()[0], info.indexed_fields) == ("local", [])
    elif info.location.startswith("http"):
        assert (info.engine.split()[0], info.indexed_fields) == ("server", indexed)
    else:
        assert (info.engine.split()[0], info.indexed_fields) == ("edge", indexed)
        assert Path(info.location).is_dir()


USES: dict[str, Callable[[ViewCollection], object]] = {
    "add": lambda collection: collection.add([Document("x", id=1)]),
    "get": lambda collection: collection.get(["d0"]),
    "delete": lambda collection: collection.delete(["d0"]),
    "count": lambda collection: collection.count(),
    "search": lambda collection: collection.search("x", view="need"),
    "filter": lambda collection: collection.search("x", view="need", filter={"a": 1}),
    "info": lambda collection: collection.info(),
}


def test_a_closed_collection_says_so_and_closes_again(collection: ViewCollection) -> None:
    collection.close()
    collection.close()
    for use in USES.values():
        with pytest.raises(EngineError, match=r"closed|could not"):
            use(collection)


def test_the_with_block_lets_go_also_after_an_error(kept: Path) -> None:
    with pytest.raises(ZeroDivisionError), ViewCollection.open(kept, FakeEmbedder()):
        _ = 1 / 0
    ViewCollection.open(kept, FakeEmbedder()).close()

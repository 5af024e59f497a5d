"""Many views, odd names, and metadata that looks like what is stored beside it."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from inbedder_retrieval import Document, DocumentError, View, ViewCollection, ViewError, Where
from inbedder_retrieval.testing import FakeEmbedder
from tests.collection.killed import check_vectors

RESERVED = ("id", "text", "hash", "metadata", "exact", "inbedder", "vector", "payload")


def test_64_views_are_kept_searched_and_added_to(
    location: str | Path, documents: list[Document]
) -> None:
    fake = FakeEmbedder(dimension=16)
    first = {f"view {n}": f"What about {n}?" for n in range(63)}
    with ViewCollection.create(location, first, fake) as collection:
        collection.add(documents)
        assert collection.add_view(View("last", "What about the last?")) == len(documents)
        assert len(collection.views) == 64
        check_vectors(collection, fake)
        for name in ("view 0", "view 62", "last"):
            assert collection.search(documents[1].text, view=name, limit=1)[0].id == "d1"
        every = dict.fromkeys(collection.views.names, 1 / 64)
        [hit] = collection.search(documents[1].text, views=every, limit=1)
        assert hit.id == "d1"
        assert hit.score == pytest.approx(1, abs=1e-5)
        assert len(hit.scores) == 64
        collection.drop_view("view 30")
        assert collection.check().clean


@pytest.mark.parametrize("name", ["größe", "感情", "مشاعر", "x" * 64, "ä" * 64, "a.b-c_d", "7"])
def test_a_view_of_any_name_is_created_added_renamed_and_found(
    location: str | Path, documents: list[Document], fake: FakeEmbedder, name: str
) -> None:
    view = View(name, "What is it?")
    with ViewCollection.create(location, [view], fake) as collection:
        collection.add(documents)
        collection.add_view({"other": "Which other?"})
        collection.rename_view(name, "plain")
        collection.rename_view("other", name)
        assert collection.views.names == ["plain", name]
        assert collection.search(documents[1].text, view=name, limit=1)[0].id == "d1"
        collection.drop_view(name)
        collection.add_view(view)
        check_vectors(collection, fake)
        assert collection.check().clean


@pytest.mark.parametrize("name", ["x" * 300, "a/b", "why?", "a\0b", "../up", "", "a\n", "🙂", " a"])
def test_a_name_that_can_be_none_is_refused_and_nothing_is_changed(
    collection: ViewCollection, documents: list[Document], name: str
) -> None:
    collection.add(documents)
    names = collection.views.names
    with pytest.raises(ViewError, match="a name is 1 to 64 letters"):
        collection.add_view({name: "What is it?"})
    with pytest.raises(ViewError, match="a name is 1 to 64 letters"):
        collection.rename_view("need", name)
    assert collection.views.names == names
    assert collection.check().clean


def test_metadata_may_have_the_names_of_what_is_stored_beside_it(
    collection: ViewCollection, fake: FakeEmbedder
) -> None:
    """Also with a number so long that its text is kept."""
    metadata: dict[str, Any] = {name: f"my {name}" for name in RESERVED}
    nested = {name: {"id": 0.1234567890123456789} for name in RESERVED}
    mine = [
        Document("mine", id="a", metadata=metadata),
        Document("nested", id="b", metadata=nested),
    ]
    collection.add(mine)
    assert collection.get(["a", "b"]) == mine
    assert collection.add(mine).unchanged == 2
    for name in RESERVED:
        found = collection.search("mine", view="need", filter={name: f"my {name}"})
        assert [hit.metadata for hit in found] == [metadata]
        assert collection.count(Where.field(f"{name}.id") == 0.1234567890123456789) == 1
    relabelled = Document("mine", id="a", metadata={"id": "b", "text": "other", "hash": "none"})
    assert collection.add([relabelled]).relabelled == 1
    assert collection.get(["a"]) == [relabelled]
    assert collection.check().clean
    check_vectors(collection, fake)


@pytest.mark.parametrize(
    "value",
    [b"raw", bytearray(b"raw"), float("nan"), float("inf"), {1, 2}, object(), 1 + 2j, 2**64],
)
def test_metadata_that_cannot_be_kept_is_refused_before_anything_is_written(
    collection: ViewCollection, value: object
) -> None:
    with pytest.raises(DocumentError, match=r"metadata\.deep\[0\]\.x is "):
        collection.add([Document("good"), Document("bad", metadata={"deep": [{"x": value}]})])
    assert collection.count() == 0


@pytest.mark.parametrize("moment", [date(2026, 1, 2), datetime(2026, 1, 2, 3, 4)])
def test_a_date_is_refused_with_what_to_write_instead(moment: date) -> None:
    with pytest.raises(DocumentError, match=r"metadata\.at is date.* \(a date as ISO 8601 text\)"):
        Document("text", metadata={"at": moment})


def test_none_nested_and_empty_metadata_come_back(collection: ViewCollection) -> None:
    kept = [
        Document("none", id="0", metadata={"a": None, "b": [None, {"c": None}]}),
        Document("empty", id="1", metadata={"": "", "a": {}, "b": []}),
        Document("odd keys", id="2", metadata={"a/b?": 1, "größe": {"日本": [1, 2.5, True]}}),
    ]
    collection.add(kept)
    assert collection.get(range(3)) == kept
    assert collection.add(kept).unchanged == 3

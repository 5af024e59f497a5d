from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inbedder_retrieval import Document, DocumentError, ViewCollection, Where
from inbedder_retrieval.testing import FakeEmbedder

from langchain_inbedder import InBedderVectorStore
from langchain_inbedder.filters import where_of

ITEMS: list[dict[str, Any]] = [
    {"price": 5, "color": "red", "tags": ["gift", "new"], "sold": True},
    {"price": 10, "color": "blue", "tags": [], "sold": False, "note": None},
    {"price": 15.5, "color": "dark red", "at": {"city": "Leeds"}},
    {"color": "green", "tags": ["gift"], "at": {"city": "York"}},
]
Holds = Callable[[dict[str, Any]], bool]
# What each filter means, said a second time in Python.
MEANT: list[tuple[dict[str, Any] | Where, Holds]] = [
    ({"color": "red"}, lambda m: m["color"] == "red"),
    ({"color": ["red", "blue"]}, lambda m: m["color"] in ("red", "blue")),
    ({"color": {"$eq": "red"}}, lambda m: m["color"] == "red"),
    ({"color": {"$ne": "red"}}, lambda m: m["color"] != "red"),
    ({"color": {"$in": ["red", "green"]}}, lambda m: m["color"] in ("red", "green")),
    ({"price": {"$nin": [5, 10]}}, lambda m: m.get("price") not in (5, 10)),
    ({"price": {"$lt": 10}}, lambda m: m.get("price", 99) < 10),
    ({"price": {"$gte": 10, "$lt": 15.5}}, lambda m: 10 <= m.get("price", 0) < 15.5),
    ({"price": {"$between": [10, 15.5]}}, lambda m: 10 <= m.get("price", 0) <= 15.5),
    ({"price": {"$not": {"$gt": 5}}}, lambda m: not m.get("price", 0) > 5),
    ({"price": {"$exists": False}}, lambda m: "price" not in m),
    ({"note": {"$null": True}}, lambda m: "note" in m),
    ({"tags": {"$contains": "gift"}}, lambda m: "gift" in m.get("tags", [])),
    ({"color": {"$match": "red"}}, lambda m: "red" in m["color"]),
    ({"at.city": "York"}, lambda m: m.get("at", {}).get("city") == "York"),
    ({"sold": True}, lambda m: m.get("sold") is True),
    ({"color": "red", "price": {"lte": 5}}, lambda m: m["color"] == "red"),
    (
        {"$or": [{"price": {"$gt": 12}}, {"color": "green"}]},
        lambda m: m.get("price", 0) > 12 or m["color"] == "green",
    ),
    (
        {"$and": [{"price": {"$gt": 2}}, {"$not": {"color": "blue"}}]},
        lambda m: m.get("price", 0) > 2 and m["color"] != "blue",
    ),
    ({"$not": {"$or": [{"price": 5}, {"price": 10}]}}, lambda m: m.get("price") not in (5, 10)),
    (Where.field("price") < 10, lambda m: m.get("price", 99) < 10),
]


@pytest.fixture(scope="module", params=["memory", "folder"])
def items(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    place = ":memory:" if request.param == "memory" else tmp_path_factory.mktemp("lc") / "items"
    with ViewCollection.create(place, {"general": None}, FakeEmbedder()) as collection:
        collection.add(Document(f"item {k}", id=str(k), metadata=m) for k, m in enumerate(ITEMS))
        yield InBedderVectorStore(collection)


@pytest.mark.parametrize(("filter", "holds"), MEANT)
def test_a_filter_finds_what_it_says(
    filter: dict[str, Any] | Where, holds: Holds, items: InBedderVectorStore
) -> None:
    wanted = {str(k) for k, metadata in enumerate(ITEMS) if holds(metadata)}
    assert 0 < len(wanted) < len(ITEMS)
    assert {one.id for one in items.similarity_search("item", k=9, filter=filter)} == wanted
    found = items.max_marginal_relevance_search("item", k=9, filter=filter)
    assert {one.id for one in found} == wanted
    assert items.collection.count(where_of(filter)) == len(wanted)


@settings(max_examples=50, deadline=None)
@given(
    chosen=st.lists(st.sampled_from(range(len(MEANT))), min_size=1, max_size=4), all_=st.booleans()
)
def test_joins_mean_what_they_say(chosen: list[int], all_: bool) -> None:
    joined = where_of({"$and" if all_ else "$or": [MEANT[k][0] for k in chosen]})
    with ViewCollection.create(":memory:", {"general": None}, FakeEmbedder()) as collection:
        collection.add(Document(f"item {k}", id=str(k), metadata=m) for k, m in enumerate(ITEMS))
        found = {one.id for one in collection.scroll(filter=joined)[0]}
    join = all if all_ else any
    assert found == {str(k) for k, m in enumerate(ITEMS) if join(MEANT[c][1](m) for c in chosen)}


def test_ids_can_be_asked_for(items: InBedderVectorStore) -> None:
    found = items.similarity_search("item", k=9, filter={"$ids": ["0", "2", "nowhere"]})
    assert {one.id for one in found} == {"0", "2"}


def test_bounds_are_asked_of_one_element() -> None:
    assert where_of({"n": {"$gt": 3, "$lt": 5}}) == Where.field("n").within(gt=3, lt=5)


@pytest.mark.parametrize(
    ("filter", "says"),
    [
        ({}, "None for no filter"),
        ({"price": {}}, "asks nothing"),
        ({"$and": []}, "at least one"),
        ({"$or": {"price": 1}}, "at least one"),
        ({"$nor": [{"price": 1}]}, "there are \\$and"),
        ({"price": {"$near": 1}}, "has '\\$near'; there are"),
        ({"price": {"$exists": 1}}, "True or False"),
        ({"price": {"$between": [1]}}, "the least and the greatest"),
        ({"price": {"$not": 5}}, "give an operator"),
        ({"price": {"$in": []}}, "at least one"),
        ("price < 5", "give a field and a value"),
        (lambda document: True, "give a field and a value"),
    ],
)
def test_a_filter_that_cannot_be_asked_is_refused(filter: Any, says: str) -> None:
    with pytest.raises(DocumentError, match=says):
        where_of(filter)


def test_a_filter_too_deep_is_refused() -> None:
    deep: dict[str, Any] = {"price": 1}
    for _ in range(50):
        deep = {"$not": deep}
    with pytest.raises(DocumentError, match="nested more than"):
        where_of(deep)
    inner: dict[str, Any] = {"$lt": 1}
    for _ in range(50):
        inner = {"$not": inner}
    with pytest.raises(DocumentError):
        where_of({"price": inner})

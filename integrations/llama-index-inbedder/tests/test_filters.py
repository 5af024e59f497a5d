from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from inbedder_retrieval import DocumentError, ViewCollection
from inbedder_retrieval.testing import FakeEmbedder
from llama_index.vector_stores.inbedder import InBedderVectorStore
from llama_index.vector_stores.inbedder.filters import where_of
from tests.conftest import chunk

Operator = FilterOperator
WORDS = ["Red tent", "red", "TENT", "Straße", "", "kettle"]
METADATA: list[dict[str, Any]] = [
    {"n": number, "s": word, "l": tags}
    for number, word, tags in zip(
        [1, 2.5, -3, 0, 7, 7], WORDS, [["a"], ["a", "b"], [], ["c"], ["b", "c"], ["a"]], strict=True
    )
]
METADATA += [{"n": 2}, {"s": "red"}, {"l": ["a", "b", "c"]}, {}, {"n": None, "s": None, "l": None}]


def make_store() -> InBedderVectorStore:
    collection = ViewCollection.create(":memory:", {"general": None}, FakeEmbedder())
    store = InBedderVectorStore(collection)
    store.add(
        [TextNode(id_=str(k), text=f"text {k}", metadata=one) for k, one in enumerate(METADATA)]
    )
    return store


STORE = make_store()


def fitting(filters: MetadataFilters, store: InBedderVectorStore = STORE) -> set[str]:
    return {node.node_id for node in store.get_nodes(filters=filters)}


def expected(filters: MetadataFilters) -> set[str]:
    """What LlamaIndex's own reference says of each leaf, joined here: it does not nest."""
    everything = {str(k) for k in range(len(METADATA))}
    found = []
    for one in filters.filters:
        if isinstance(one, MetadataFilters):
            found.append(expected(one))
        else:
            fits = build_metadata_filter_fn(
                lambda id: METADATA[int(id)], MetadataFilters(filters=[one])
            )
            found.append({id for id in everything if fits(id)})
    if filters.condition == FilterCondition.OR:
        return set().union(*found)
    if filters.condition == FilterCondition.NOT:
        return everything - set().union(*found)
    return everything.intersection(*found)


numbers = st.sampled_from([1, 2, 2.5, 7, -3])
words = st.sampled_from(WORDS)
texts = st.sampled_from(["red", "TENT", "e", "ß", "STRASSE", "nt"])
tags = st.sampled_from(["a", "b", "c", "d"])


def leaves(key: str, operators: list[Operator], values: Any) -> st.SearchStrategy[MetadataFilter]:
    return st.builds(
        MetadataFilter, key=st.just(key), operator=st.sampled_from(operators), value=values
    )


any_leaf = st.one_of(
    leaves("n", [Operator.EQ, Operator.NE], numbers),
    leaves("n", [Operator.GT, Operator.GTE, Operator.LT, Operator.LTE], numbers),
    leaves("n", [Operator.IN, Operator.NIN], st.lists(st.sampled_from([1, 2, 7]), max_size=3)),
    leaves("s", [Operator.EQ, Operator.NE], words),
    leaves("s", [Operator.IN, Operator.NIN], st.lists(words, max_size=3)),
    leaves("s", [Operator.TEXT_MATCH, Operator.TEXT_MATCH_INSENSITIVE], texts),
    leaves("l", [Operator.CONTAINS], tags),
    leaves("l", [Operator.ANY, Operator.ALL], st.lists(tags, min_size=1, max_size=3)),
    st.builds(
        MetadataFilter,
        key=st.sampled_from(["n", "s", "l", "none"]),
        operator=st.just(Operator.IS_EMPTY),
        value=st.none(),
    ),
)


def joined(parts: Any) -> st.SearchStrategy[MetadataFilters]:
    return st.builds(
        MetadataFilters,
        filters=st.lists(parts, min_size=1, max_size=3),
        condition=st.sampled_from(list(FilterCondition)),
    )


any_filters = joined(st.recursive(any_leaf, joined, max_leaves=6))


@settings(max_examples=50, deadline=None)
@given(any_filters)
def test_filters_mean_what_llama_indexs_own_store_takes_them_for(filters: MetadataFilters) -> None:
    assert fitting(filters) == expected(filters)


@pytest.mark.parametrize("operator", list(Operator))
def test_every_operator_is_asked_the_same_in_a_query(operator: Operator) -> None:
    asked: dict[Operator, tuple[str, Any]] = {
        Operator.CONTAINS: ("l", "a"),
        Operator.ANY: ("l", ["a", "c"]),
        Operator.ALL: ("l", ["a", "b"]),
        Operator.IN: ("s", ["red", "kettle"]),
        Operator.NIN: ("s", ["red", "kettle"]),
        Operator.TEXT_MATCH: ("s", "ed"),
        Operator.TEXT_MATCH_INSENSITIVE: ("s", "TENT"),
        Operator.IS_EMPTY: ("l", None),
    }
    key, value = asked.get(operator, ("n", 2))
    filters = MetadataFilters(filters=[MetadataFilter(key=key, value=value, operator=operator)])
    wanted = expected(filters)
    assert 0 < len(wanted) < len(METADATA)
    result = STORE.query(VectorStoreQuery(query_str="text", similarity_top_k=99, filters=filters))
    assert set(result.ids or []) == wanted


def test_a_group_of_no_filters_says_nothing() -> None:
    assert where_of(MetadataFilters(filters=[])) is None
    empty = MetadataFilters(filters=[MetadataFilters(filters=[])])
    assert len(fitting(empty)) == len(METADATA)


def test_bounds_may_be_dates(store: InBedderVectorStore) -> None:
    for name, day in {"a": "2026-01-02", "b": "2026-01-02T12:00:00Z", "c": "2026-03-01"}.items():
        store.add([chunk(name, name, day=day)])

    def found(operator: Operator, value: str) -> set[str]:
        one = MetadataFilter(key="day", value=value, operator=operator)
        return fitting(MetadataFilters(filters=[one]), store)

    assert found(Operator.GT, "2026-01-02") == {"c"}
    assert found(Operator.GTE, "2026-01-02T11:00:00+00:00") == {"b", "c"}
    assert found(Operator.LT, "2026-01-02T12:00:00Z") == {"a"}


def test_a_key_with_a_dot_is_a_key_or_a_path(store: InBedderVectorStore) -> None:
    store.add([TextNode(id_="flat", text="a", metadata={"a.b": "x"})])
    store.add([TextNode(id_="deep", text="b", metadata={"a": {"b": "X"}})])
    for operator, wanted in (
        (Operator.EQ, {"flat"}),
        (Operator.TEXT_MATCH_INSENSITIVE, {"flat", "deep"}),
    ):
        one = MetadataFilter(key="a.b", value="x", operator=operator)
        assert fitting(MetadataFilters(filters=[one]), store) == wanted


@pytest.mark.parametrize("key", ["ref_doc_id", "doc_id", "document_id"])
def test_the_source_document_is_filtered_by_as_in_other_stores(
    store: InBedderVectorStore, key: str
) -> None:
    store.add([chunk("1", "a", "doc"), chunk("2", "b", "other"), chunk("3", "c")])
    one = MetadataFilter(key=key, value="doc")
    assert fitting(MetadataFilters(filters=[one]), store) == {"1"}
    one = MetadataFilter(key=key, value="doc", operator=Operator.NE)
    assert fitting(MetadataFilters(filters=[one]), store) == {"2", "3"}


@pytest.mark.parametrize(
    ("operator", "value", "said"),
    [
        (Operator.EQ, ["a"], "asks '==' of"),
        (Operator.NE, None, "asks '!=' of None"),
        (Operator.IN, "a,b", "give a list of values"),
        (Operator.TEXT_MATCH, 5, "give some text"),
        (Operator.GT, "later", "or a date as ISO 8601 text"),
    ],
)
def test_a_value_that_cannot_be_asked_for_is_refused(
    operator: Operator, value: Any, said: str
) -> None:
    one = MetadataFilter(key="s", value=value, operator=operator)
    with pytest.raises(DocumentError, match=said):
        where_of(MetadataFilters(filters=[one]))

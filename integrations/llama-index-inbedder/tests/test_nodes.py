from __future__ import annotations

import copy
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    RelatedNodeType,
    TextNode,
)
from llama_index.core.vector_stores.types import (
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)

from inbedder_retrieval import Document as StoredDocument
from inbedder_retrieval import DocumentError, Where
from inbedder_retrieval.testing import FakeEmbedder
from llama_index.vector_stores.inbedder import InBedderVectorStore
from llama_index.vector_stores.inbedder.nodes import document_of, node_of

RELATED: dict[NodeRelationship, RelatedNodeType] = {
    NodeRelationship.SOURCE: RelatedNodeInfo(
        node_id="doc", node_type="4", metadata={"page": 1, "share": 0.1}, hash="abc"
    ),
    NodeRelationship.PREVIOUS: RelatedNodeInfo(node_id="before"),
    NodeRelationship.NEXT: RelatedNodeInfo(node_id="after"),
    NodeRelationship.PARENT: RelatedNodeInfo(node_id="above"),
    NodeRelationship.CHILD: [RelatedNodeInfo(node_id="below"), RelatedNodeInfo(node_id="lower")],
}
DATED = {
    "day": date(2026, 1, 31),
    "at": datetime(2026, 1, 31, 10, 30, 0, 5, tzinfo=timezone.utc),
    "local": [{"at": datetime(2026, 1, 31, 10), "text": "2026-01-31"}],
    "zone": datetime(2026, 1, 31, 10, tzinfo=timezone(timedelta(hours=-3))),
}
NODES: list[BaseNode] = [
    TextNode(id_="plain", text="a text"),
    TextNode(
        id_="full",
        text="a text",
        metadata={"price": 0.1, "tags": ["a", "b"], "deep": {"x": None}, "text": "mine"},
        relationships=RELATED,
        excluded_embed_metadata_keys=["price"],
        excluded_llm_metadata_keys=["tags"],
        start_char_idx=3,
        end_char_idx=9,
        metadata_template="{key}={value}",
        metadata_separator="; ",
        text_template="{content}",
        mimetype="text/markdown",
    ),
    TextNode(id_="empty", text=""),
    Node(id_="node", text_resource=MediaResource(text="a text"), relationships=RELATED),
    Node(id_="silent", image_resource=MediaResource(path=Path("a.png"))),
    Document(id_="document", text="a text", metadata={"page": 2}),
    IndexNode(id_="index", text="a text", index_id="other", relationships=RELATED),
    IndexNode(id_="inner", text="a text", index_id="x", obj=TextNode(id_="in", text="inside")),
    ImageNode(id_="image", text="a text", image_url="https://example.org/b.png"),
    ImageDocument(id_="shown", text="a text", image_resource=MediaResource(path=Path("c.png"))),
    TextNode(
        id_="dated",
        text="a text",
        metadata=DATED,
        relationships={
            NodeRelationship.SOURCE: RelatedNodeInfo(node_id="doc", metadata=DATED),
            NodeRelationship.CHILD: [
                RelatedNodeInfo(node_id="below"),
                RelatedNodeInfo(node_id="lower", metadata=DATED),
            ],
        },
    ),
]


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.node_id)
@pytest.mark.parametrize("mode", [MetadataMode.NONE, MetadataMode.EMBED])
def test_a_node_comes_back_as_it_was(node: BaseNode, mode: MetadataMode) -> None:
    before = copy.deepcopy(node)
    stored = document_of(node, mode)
    back = node_of(stored)
    assert type(back) is type(node)
    assert back.to_dict() == node.to_dict()
    assert back.metadata == node.metadata
    assert back.relationships == node.relationships
    assert back.hash == node.hash
    assert node == before


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("ab ."),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner),
    max_leaves=6,
)


@settings(max_examples=50, deadline=None)
@given(
    text=st.text("ab\n{}é"),
    metadata=st.dictionaries(st.text("abc_", max_size=4), json_values, max_size=4),
    source=st.none() | st.just("doc"),
)
def test_any_text_and_metadata_come_back(
    text: str, metadata: dict[str, object], source: str | None
) -> None:
    related = {} if source is None else {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source)}
    node = TextNode(id_="x", text=text, metadata=metadata, relationships=related)
    stored = document_of(node)
    assert (stored.text, stored.metadata) == (text, metadata)
    assert node_of(stored) == node


def test_a_plain_node_is_a_plain_document() -> None:
    node = TextNode(id_="x", text="a text", metadata={"price": 5})
    assert document_of(node) == StoredDocument("a text", id="x", metadata={"price": 5})


def test_what_others_wrote_is_a_text_node() -> None:
    others = StoredDocument("a text", "7", {"price": 5}, {"kept": "by another adapter"})
    assert node_of(others) == TextNode(id_="7", text="a text", metadata={"price": 5})


def test_the_text_is_the_nodes_own_unless_metadata_is_asked_for() -> None:
    node = TextNode(id_="x", text="a text", metadata={"price": 5})
    assert document_of(node).text == "a text"
    assert document_of(node, MetadataMode.EMBED).text == "price: 5\n\na text"


def test_dates_are_text_to_others_and_compared_as_moments() -> None:
    store = InBedderVectorStore.at(":memory:", {"general": None}, FakeEmbedder())
    nodes = [
        TextNode(id_=str(day), text="a text", metadata={"at": datetime(2026, 1, day, 12)})
        for day in (1, 2, 3)
    ]
    store.add(nodes)
    assert store.client.get(["2"])[0].metadata == {"at": "2026-01-02T12:00:00"}
    # 10:59 in UTC.
    later = MetadataFilter(key="at", value="2026-01-02T09:59:00-01:00", operator=FilterOperator.GT)
    found = store.get_nodes(filters=MetadataFilters(filters=[later]))
    assert sorted(found, key=lambda node: node.node_id) == nodes[1:]
    result = store.query(
        VectorStoreQuery(query_str="a text", similarity_top_k=3),
        filter=Where.field("at") <= date(2026, 1, 2),
    )
    assert sorted(result.ids or []) == ["1", "2"]
    assert [node.metadata["at"].year for node in result.nodes or []] == [2026, 2026]


def test_the_reserved_key_and_what_is_no_node_are_refused() -> None:
    with pytest.raises(DocumentError, match=r"has the key '_notes'"):
        document_of(TextNode(id_="x", text="a", metadata={"_notes": 1}))
    with pytest.raises(DocumentError, match="a node is str"):
        document_of("a text")  # type: ignore[arg-type]


def test_a_node_of_a_users_own_class_comes_back_as_a_text_node() -> None:
    class Note(TextNode):
        @classmethod
        def class_name(cls) -> str:
            return "Note"

    stored = document_of(Note(id_="x", text="a text", extra_info={"a": 1}))
    back = node_of(stored)
    assert (type(back), back.get_content(), back.metadata) == (TextNode, "a text", {"a": 1})

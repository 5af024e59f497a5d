from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.indices.query.embedding_utils import get_top_k_mmr_embeddings
from llama_index.core.schema import MetadataMode, TextNode
from llama_index.core.vector_stores.types import (
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from numpy.typing import NDArray

from inbedder_retrieval import Document, InputError, UnknownView, View, ViewCollection
from inbedder_retrieval.testing import FakeEmbedder
from llama_index.vector_stores.inbedder import InBedderVectorStore
from tests.conftest import QUESTIONS, TEXTS, chunk

QUERY = "a refund for the kettle please"
RED = MetadataFilters(filters=[MetadataFilter(key="colour", value="red")])
NAMES = list(TEXTS)
Vector = NDArray[np.float32]


def cosines(embedder: FakeEmbedder, view: str, texts: list[str]) -> dict[str, np.float64]:
    """The cosine of each of TEXTS to the mean of some texts, by brute force."""
    asked = View(view, QUESTIONS[view])
    stored = embedder.embed(TEXTS.values(), asked)[view].astype(float)
    query = embedder.embed(texts, asked)[view].astype(float).mean(axis=0)
    return dict(zip(NAMES, stored @ query / np.linalg.norm(query), strict=True))


def ranked(scores: dict[str, np.float64]) -> list[str]:
    return sorted(scores, key=lambda name: -scores[name])


def ids(store: InBedderVectorStore, query: VectorStoreQuery, **options: object) -> list[str]:
    return list(store.query(query, **options).ids or [])


@pytest.mark.parametrize("view", QUESTIONS)
def test_a_query_finds_what_is_nearest_in_the_stores_view(
    filled: InBedderVectorStore, embedder: FakeEmbedder, view: str
) -> None:
    wanted = cosines(embedder, view, [QUERY])
    result = filled.for_view(view).query(VectorStoreQuery(query_str=QUERY, similarity_top_k=3))
    assert result.ids == ranked(wanted)[:3]
    assert result.similarities == pytest.approx([wanted[name] for name in result.ids], abs=1e-5)
    assert [node.get_content() for node in result.nodes or []] == [TEXTS[n] for n in result.ids]


def test_a_query_may_name_another_view_and_an_embedding(
    filled: InBedderVectorStore, embedder: FakeEmbedder
) -> None:
    wanted = ranked(cosines(embedder, "need", [QUERY]))
    named = VectorStoreQuery(query_str=QUERY, similarity_top_k=5, embedding_field="need")
    assert ids(filled, named) == wanted
    assert ids(filled, VectorStoreQuery(query_str=QUERY, similarity_top_k=5), view="need") == wanted
    vector = embedder.embed([QUERY], View("need", QUESTIONS["need"]))["need"][0].tolist()
    given = VectorStoreQuery(query_embedding=vector, similarity_top_k=5)
    assert ids(filled.for_view("need"), given) == wanted
    # Beside a text it counts where LlamaIndex was told to embed.
    both = VectorStoreQuery(query_str="not this", query_embedding=vector, similarity_top_k=5)
    assert ids(filled.for_view("need"), both) == ranked(cosines(embedder, "need", ["not this"]))
    embedded = InBedderVectorStore(filled.client, view="need", is_embedding_query=True)
    assert ids(embedded, both) == wanted


def test_a_store_that_cannot_look_at_a_view_lets_go_of_its_folder(
    tmp_path: Path, embedder: FakeEmbedder
) -> None:
    place = tmp_path / "there.inb"
    with pytest.raises(UnknownView) as held:
        InBedderVectorStore.at(place, QUESTIONS, embedder, view="hwo")
    InBedderVectorStore.at(place, QUESTIONS, embedder, view="need").client.close()
    assert held.traceback


def test_hybrid_sums_the_cosines_of_several_views(
    filled: InBedderVectorStore, embedder: FakeEmbedder
) -> None:
    need, feeling, general = (cosines(embedder, v, [QUERY]) for v in ("need", "feeling", "general"))
    query = VectorStoreQuery(query_str=QUERY, similarity_top_k=5, mode=VectorStoreQueryMode.HYBRID)
    alike = {name: need[name] + feeling[name] + general[name] for name in NAMES}
    assert ids(filled, query) == ranked(alike)
    weighed = {name: 0.9 * need[name] + 0.1 * general[name] for name in NAMES}
    result = filled.query(query, views={"need": 0.9, "general": 0.1})
    assert result.ids == ranked(weighed)
    assert result.similarities == pytest.approx([weighed[name] for name in result.ids], abs=1e-5)
    bound = InBedderVectorStore(filled.client, views={"need": 0.9, "general": 0.1})
    assert ids(bound, query) == ranked(weighed)
    query.hybrid_top_k = 2
    assert ids(bound, query) == ranked(weighed)[:2]


def chosen(query: Vector, rows: Vector, threshold: float) -> list[str]:
    """Maximal marginal relevance by its definition, one choice after the other."""
    picked = [int(np.argmax(rows @ query))]
    while len(picked) < len(rows):
        gains = {
            k: threshold * rows[k] @ query
            - (1 - threshold) * max(rows[k] @ rows[j] for j in picked)
            for k in range(len(rows))
            if k not in picked
        }
        picked.append(max(gains, key=lambda k: gains[k]))
    return [NAMES[k] for k in picked]


@pytest.mark.parametrize("threshold", [0.05, 0.3, None, 0.8, 1.0])
def test_mmr_weighs_relevance_against_likeness_to_all_that_is_chosen(
    filled: InBedderVectorStore, embedder: FakeEmbedder, threshold: float | None
) -> None:
    vectors = embedder.embed([QUERY, *TEXTS.values()], View("need", QUESTIONS["need"]))["need"]
    share = 0.5 if threshold is None else threshold
    query = VectorStoreQuery(
        query_str=QUERY,
        similarity_top_k=5,
        mode=VectorStoreQueryMode.MMR,
        mmr_threshold=threshold,
        embedding_field="need",
    )
    assert ids(filled, query) == chosen(vectors[0], vectors[1:], share)
    # LlamaIndex's own looks back at the last choice alone, so it agrees on the first two.
    _, own = get_top_k_mmr_embeddings(
        vectors[0].tolist(),
        vectors[1:].tolist(),
        similarity_top_k=2,
        embedding_ids=NAMES,
        mmr_threshold=threshold,
    )
    assert ids(filled, query)[:2] == own
    query.mmr_threshold = None
    assert ids(filled, query, mmr_threshold=share) == chosen(vectors[0], vectors[1:], share)


def test_a_query_is_confined_by_documents_nodes_and_filters(store: InBedderVectorStore) -> None:
    store.add([chunk("1", "a tent", "x", colour="red"), chunk("2", "a tent", "y", colour="red")])
    store.add([chunk("3", "a tent", "x", colour="blue"), chunk("4", "a tent")])

    def found(**fields: object) -> set[str]:
        query = VectorStoreQuery(query_str="tent", similarity_top_k=9, **fields)  # type: ignore[arg-type]
        return set(ids(store, query))

    assert found() == {"1", "2", "3", "4"}
    assert found(doc_ids=["x"]) == {"1", "3"}
    assert found(node_ids=["2", "4"]) == {"2", "4"}
    assert found(filters=RED) == {"1", "2"}
    assert found(filters=RED, doc_ids=["x"], node_ids=["1", "3"]) == {"1"}
    # An index without nodes of its own names none.
    assert found(doc_ids=[], node_ids=[]) == {"1", "2", "3", "4"}
    query = VectorStoreQuery(query_str="tent", similarity_top_k=9, filters=RED)
    assert set(ids(store, query, filter={"$ids": ["2", "3"]})) == {"2"}


def test_any_id_will_do_and_is_found_again(store: InBedderVectorStore) -> None:
    names = ["7", "a b/c?d", "ünïcode", "x" * 300, "8f14e45f-ceea-467f-a8f0-6a8d2c2b1a11"]
    assert store.add([TextNode(id_=name, text=f"text {name}") for name in names]) == names
    assert [node.node_id for node in store.get_nodes(names[::-1])] == names[::-1]
    store.delete_nodes(names[:2])
    assert {node.node_id for node in store.get_nodes()} == set(names[2:])


def test_nodes_are_left_as_they_are_and_added_again_cost_nothing(
    store: InBedderVectorStore, embedder: FakeEmbedder
) -> None:
    node = chunk("1", "a tent", "x", colour="red")
    node.embedding = [0.1, 0.2]
    before = node.model_copy(deep=True)
    store.add([node])
    assert node == before
    seen = embedder.texts_seen
    store.add([node])
    assert embedder.texts_seen == seen


def test_a_document_is_deleted_with_all_its_nodes(store: InBedderVectorStore) -> None:
    store.add([chunk("1", "a", "x"), chunk("2", "b", "x"), chunk("3", "c", "y"), chunk("x", "d")])
    # A node of another document may have any id.
    store.add([chunk("y", "e", "z")])
    store.delete("x")
    assert {node.node_id for node in store.get_nodes()} == {"3", "y"}
    store.delete("y")
    assert {node.node_id for node in store.get_nodes()} == {"y"}


@pytest.mark.parametrize("nothing", [None, ""])
def test_deleting_without_saying_what_is_refused(
    filled: InBedderVectorStore, nothing: str | None
) -> None:
    with pytest.raises(InputError, match="the ref_doc_id is"):
        filled.delete(nothing)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="name the nodes to delete"):
        filled.delete_nodes()
    with pytest.raises(InputError, match="name the nodes to delete"):
        filled.delete_nodes(["tent"], filters=MetadataFilters(filters=[]))
    with pytest.raises(InputError, match="name the nodes to delete"):
        asyncio.run(filled.adelete_nodes())
    filled.delete_nodes([])
    filled.delete_nodes([], filters=RED)
    assert len(filled.get_nodes()) == len(TEXTS)


def test_nodes_are_read_and_deleted_by_ids_filters_or_both(store: InBedderVectorStore) -> None:
    store.add([chunk(str(k), "a", colour="red" if k % 2 else "blue") for k in range(6)])

    def found(*given: object, **named: object) -> list[str]:
        return [node.node_id for node in store.get_nodes(*given, **named)]  # type: ignore[arg-type]

    assert found(["3", "none", "2"]) == ["3", "2"]
    assert set(found(filters=RED)) == {"1", "3", "5"}
    assert found(["5", "2", "1"], filters=RED) == ["5", "1"]
    assert found([]) == found([], filters=RED) == []
    store.delete_nodes(["1", "2"], filters=RED)
    assert set(found()) == {"0", "2", "3", "4", "5"}
    store.delete_nodes(filters=RED)
    assert set(found()) == {"0", "2", "4"}
    store.clear()
    assert found() == []
    assert store.client.views.names == list(QUESTIONS)


def test_the_calls_for_asyncio_do_the_same(store: InBedderVectorStore) -> None:
    async def calls() -> None:
        nodes = [chunk("1", "a tent", "x", colour="red"), chunk("2", "a bag", "y", colour="Red")]
        assert await store.async_add(nodes) == ["1", "2"]
        insensitive = MetadataFilter(key="colour", value="RED", operator="text_match_insensitive")  # type: ignore[arg-type]
        either = MetadataFilters(filters=[insensitive])
        assert {node.node_id for node in await store.aget_nodes(filters=either)} == {"1", "2"}
        assert await store.aget_nodes(["2"]) == [nodes[1]]
        assert await store.aget_nodes([], filters=either) == []
        query = VectorStoreQuery(query_str="a bag", similarity_top_k=1, filters=either)
        assert (await store.aquery(query)).ids == ["2"]
        await store.adelete("x")
        assert await store.aget_nodes() == [nodes[1]]
        await store.adelete_nodes(["2"], filters=either)
        assert await store.aget_nodes() == []
        await store.async_add(nodes)
        await store.aclear()
        assert await store.aget_nodes() == []

    asyncio.run(calls())


@pytest.mark.parametrize(
    ("query", "options", "said"),
    [
        (VectorStoreQuery(), {}, "neither text nor"),
        (VectorStoreQuery(query_str="a"), {"vews": {}}, "no option 'vews'"),
        (VectorStoreQuery(query_str="a", mode=VectorStoreQueryMode.SVM), {}, "no query mode"),
        (VectorStoreQuery(query_str="a", alpha=0.5), {}, "there are no keywords"),
        (VectorStoreQuery(query_embedding=[1.0]), {"views": {"need": 1, "general": 1}}, "neither"),
        (VectorStoreQuery(query_embedding=[1.0]), {}, r"takes \(64,\)"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    filled: InBedderVectorStore, query: VectorStoreQuery, options: dict[str, object], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        filled.query(query, **options)


def test_a_store_of_an_unknown_view_is_refused(filled: InBedderVectorStore) -> None:
    with pytest.raises(UnknownView, match="no view 'price' here; the collection has general"):
        filled.for_view("price")
    with pytest.raises(UnknownView, match="no view 'price'"):
        InBedderVectorStore(filled.client, views={"price": 1.0})


def test_metadata_is_embedded_where_it_is_asked_for(embedder: FakeEmbedder) -> None:
    collection = ViewCollection.create(":memory:", {"general": None}, embedder)
    store = InBedderVectorStore(collection, metadata_mode=MetadataMode.EMBED)
    node = chunk("1", "a tent", colour="red")
    store.add([node])
    [vector] = collection.vectors(["1"], "general").values()
    wanted = embedder.embed(["colour: red\n\na tent"], {"general": None})["general"][0]
    np.testing.assert_allclose(vector, wanted, atol=1e-6)
    assert store.get_nodes() == [node]


def test_a_store_is_opened_again_where_it_was(tmp_path: Path, embedder: FakeEmbedder) -> None:
    node = chunk("1", "a tent", "x", colour="red", share=0.1)
    with InBedderVectorStore.at(tmp_path / "n.inb", QUESTIONS, embedder).client as collection:
        InBedderVectorStore(collection).add([node])
    with InBedderVectorStore.at(tmp_path / "n.inb", None, embedder, view="need").client as again:
        store = InBedderVectorStore(again)
        assert store.get_nodes() == [node]
        assert store.view == "general"


def test_documents_of_the_library_are_nodes_and_nodes_are_documents(
    store: InBedderVectorStore,
) -> None:
    store.client.add([Document("a tent", id="7", metadata={"deep": {"a": [1, 2.5]}})])
    assert store.get_nodes() == [
        TextNode(id_="7", text="a tent", metadata={"deep": {"a": [1, 2.5]}})
    ]
    store.add([TextNode(id_="8", text="a bag", metadata={"colour": "red"})])
    assert store.client.get(["8"]) == [Document("a bag", id="8", metadata={"colour": "red"})]


def test_an_index_over_the_store_adds_queries_and_deletes(filled: InBedderVectorStore) -> None:
    index = VectorStoreIndex.from_vector_store(filled, embed_model=MockEmbedding(embed_dim=3))
    index.insert_nodes([chunk("9", "my shoes are lost", "shoes")])
    retriever = index.as_retriever(similarity_top_k=1)
    [found] = retriever.retrieve("my shoes are lost")
    assert found.node_id == "9"
    assert found.score == pytest.approx(1.0, abs=1e-5)
    hybrid = index.as_retriever(
        similarity_top_k=2,
        vector_store_query_mode="hybrid",
        vector_store_kwargs={"views": {"need": 0.5, "feeling": 0.5}},
    )
    assert hybrid.retrieve("my shoes are lost")[0].node_id == "9"
    assert [one.node_id for one in asyncio.run(retriever.aretrieve(TEXTS["bag"]))] == ["bag"]
    index.delete_ref_doc("shoes")
    index.delete_nodes(["bag"])
    assert {node.node_id for node in filled.get_nodes()} == set(TEXTS) - {"bag"}


def test_a_store_that_takes_llama_indexs_embeddings_asks_for_them(
    filled: InBedderVectorStore,
) -> None:
    store = InBedderVectorStore(filled.client, is_embedding_query=True)
    index = VectorStoreIndex.from_vector_store(store, embed_model=MockEmbedding(embed_dim=3))
    with pytest.raises(InputError, match=r"shape \(3,\)"):
        index.as_retriever().retrieve("a tent")
    assert store.to_dict()["class_name"] == "InBedderVectorStore"

from __future__ import annotations

import asyncio

import pytest
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.indices.query.query_transform import HyDEQueryTransform
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine, TransformQueryEngine
from llama_index.core.retrievers import QueryFusionRetriever, RouterRetriever
from llama_index.core.schema import IndexNode, QueryBundle, TextNode
from llama_index.core.selectors import EmbeddingSingleSelector
from llama_index.core.tools import RetrieverTool
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters

from inbedder_retrieval import InputError, UnknownView, View
from inbedder_retrieval.testing import FakeEmbedder
from llama_index.embeddings.inbedder import InBedderEmbedding
from llama_index.retrievers.inbedder import InBedderRetriever
from llama_index.vector_stores.inbedder import InBedderVectorStore
from tests.conftest import QUESTIONS, TEXTS, chunk
from tests.test_store import NAMES, QUERY, cosines, ranked


def retrieved(retriever: BaseRetriever, query: str | QueryBundle = QUERY) -> list[str]:
    found = [one.node_id for one in retriever.retrieve(query)]
    assert [one.node_id for one in asyncio.run(retriever.aretrieve(query))] == found
    return found


def test_one_view_is_searched(filled: InBedderVectorStore, embedder: FakeEmbedder) -> None:
    need, general = (ranked(cosines(embedder, view, [QUERY])) for view in ("need", "general"))
    assert retrieved(InBedderRetriever(filled, view="need")) == need
    assert retrieved(InBedderRetriever(filled.for_view("need"))) == need
    assert retrieved(InBedderRetriever(filled.client)) == general
    assert retrieved(InBedderRetriever(filled.client, view="need", similarity_top_k=2)) == need[:2]


def test_several_views_are_summed_with_their_weights(
    filled: InBedderVectorStore, embedder: FakeEmbedder
) -> None:
    need, feeling = (cosines(embedder, view, [QUERY]) for view in ("need", "feeling"))
    summed = {name: 0.8 * need[name] + 0.2 * feeling[name] for name in NAMES}
    retriever = InBedderRetriever(filled, views={"need": 0.8, "feeling": 0.2})
    assert retrieved(retriever) == ranked(summed)
    for found in retriever.retrieve(QUERY):
        assert found.score == pytest.approx(summed[found.node_id], abs=1e-5)


def test_ranks_are_fused_where_they_are_asked_for(
    filled: InBedderVectorStore, embedder: FakeEmbedder
) -> None:
    orders = [ranked(cosines(embedder, view, [QUERY])) for view in ("need", "feeling")]
    wanted = {name: sum(1 / (61 + order.index(name)) for order in orders) for name in NAMES}
    views = {"need": 1.0, "feeling": 1.0}
    found = InBedderRetriever(filled, views=views, fusion="ranks").retrieve(QUERY)
    for one in found:
        assert one.score == pytest.approx(wanted[one.node_id])


@pytest.mark.parametrize("views", [{"need": 1.0}, {"need": 0.8, "feeling": 0.2}])
def test_what_a_query_transform_embeds_is_looked_for(
    filled: InBedderVectorStore, embedder: FakeEmbedder, views: dict[str, float]
) -> None:
    bundle = QueryBundle("not this", custom_embedding_strs=["a refund", "my tent broke"])
    found = [cosines(embedder, view, bundle.embedding_strs) for view in views]
    summed = {
        name: sum(weight * one[name] for weight, one in zip(views.values(), found, strict=True))
        for name in NAMES
    }
    assert retrieved(InBedderRetriever(filled, views=views), bundle) == sorted(
        summed, key=lambda name: -summed[name]
    )


def test_a_querys_own_embedding_is_taken(
    filled: InBedderVectorStore, embedder: FakeEmbedder
) -> None:
    vector = embedder.embed([QUERY], View("need", QUESTIONS["need"]))["need"][0].tolist()
    bundle = QueryBundle("not this", embedding=vector)
    wanted = ranked(cosines(embedder, "need", [QUERY]))
    told = InBedderRetriever(filled, view="need", queries="embedding")
    assert retrieved(told, bundle) == wanted
    with pytest.raises(InputError, match="brings no embedding"):
        told.retrieve(QUERY)
    with pytest.raises(InputError, match="several views"):
        InBedderRetriever(filled, views={"need": 1, "general": 1}, queries="embedding")


def test_an_embedding_that_another_retriever_left_in_a_query_is_not_taken(
    filled: InBedderVectorStore, embedder: FakeEmbedder
) -> None:
    """VectorIndexRetriever writes its own into the query that a fusion hands to the next."""
    other = embedder.embed(["not this"], View("feeling", QUESTIONS["feeling"]))["feeling"][0]
    bundle = QueryBundle(QUERY, embedding=other.tolist())
    wanted = ranked(cosines(embedder, "need", [QUERY]))
    assert retrieved(InBedderRetriever(filled, view="need"), bundle) == wanted
    index = VectorStoreIndex.from_vector_store(filled.for_view("need"), MockEmbedding(64))
    assert retrieved(index.as_retriever(similarity_top_k=len(NAMES)), bundle) == wanted


def test_a_query_may_be_the_answer_that_is_wanted(filled: InBedderVectorStore) -> None:
    retriever = InBedderRetriever(filled, view="need", queries="answer")
    wanted = [hit.id for hit in filled.client.search(answer="a refund", view="need")]
    assert retrieved(retriever, "a refund") == wanted
    bundle = QueryBundle("x", custom_embedding_strs=["a refund", "a refund"])
    assert retrieved(retriever, bundle) == wanted


def test_filters_thresholds_and_diversity_are_passed_on(
    filled: InBedderVectorStore, embedder: FakeEmbedder
) -> None:
    filled.add([chunk("red", TEXTS["leak"], colour="red")])
    only = MetadataFilters(filters=[MetadataFilter(key="colour", value="red")])
    assert retrieved(InBedderRetriever(filled, filters=only)) == ["red"]
    assert retrieved(InBedderRetriever(filled, threshold=0.999), TEXTS["bag"]) == ["bag"]
    # Two alike: the second is not taken as long as there is another.
    diverse = InBedderRetriever(filled, mmr_threshold=0.3, similarity_top_k=5)
    found = retrieved(diverse, TEXTS["leak"])
    assert len({"leak", "red"} & set(found)) == 1


def test_index_nodes_lead_to_what_they_stand_for(filled: InBedderVectorStore) -> None:
    behind = TextNode(id_="behind", text="all of it")
    filled.add([IndexNode(id_="sign", text="a summary of shoes", index_id="shoes")])
    retriever = InBedderRetriever(filled, similarity_top_k=1, object_map={"shoes": behind})
    assert retrieved(retriever, "a summary of shoes") == ["behind"]


def test_query_engines_answer_from_it(filled: InBedderVectorStore) -> None:
    llm = MockLLM()
    retriever = InBedderRetriever(filled, views={"need": 0.5, "general": 0.5}, similarity_top_k=2)
    engine = RetrieverQueryEngine.from_args(retriever, llm=llm)
    response = engine.query(TEXTS["bag"])
    assert response.source_nodes[0].node_id == "bag"
    assert TEXTS["bag"] in str(response)
    assert str(asyncio.run(engine.aquery(TEXTS["bag"]))) == str(response)
    hyde = TransformQueryEngine(engine, HyDEQueryTransform(llm=llm, include_original=True))
    assert hyde.query(TEXTS["bag"]).source_nodes[0].node_id == "bag"


def test_it_is_one_of_several_in_a_fusion(filled: InBedderVectorStore) -> None:
    parts = [InBedderRetriever(filled, view=view, similarity_top_k=2) for view in QUESTIONS]
    fusion = QueryFusionRetriever(
        [*parts], llm=MockLLM(), num_queries=1, similarity_top_k=2, use_async=False
    )
    assert fusion.retrieve(TEXTS["late"])[0].node_id == "late"


def test_views_that_are_unknown_or_named_twice_are_refused(filled: InBedderVectorStore) -> None:
    with pytest.raises(UnknownView, match="no view 'price'"):
        InBedderRetriever(filled, views={"price": 1.0})
    with pytest.raises(UnknownView, match="no view 'price'"):
        InBedderRetriever(filled.client, view="price")
    with pytest.raises(InputError, match="both view and views"):
        InBedderRetriever(filled, view="need", views={"need": 1.0})


def test_a_router_chooses_the_view(filled: InBedderVectorStore, embedder: FakeEmbedder) -> None:
    told = {"need": "what the customer needs", "feeling": "how the customer feels"}
    retrievers = {view: InBedderRetriever(filled, view=view) for view in told}
    router = RouterRetriever(
        selector=EmbeddingSingleSelector.from_defaults(
            embed_model=InBedderEmbedding(embedder=embedder)
        ),
        retriever_tools=[
            RetrieverTool.from_defaults(retrievers[view], description=text)
            for view, text in told.items()
        ],
        llm=MockLLM(),
    )
    for view, text in told.items():
        wanted = {one.node_id: one.score for one in retrievers[view].retrieve(text)}
        for found in (router.retrieve(text), asyncio.run(router.aretrieve(text))):
            assert {one.node_id: one.score for one in found} == pytest.approx(wanted, abs=1e-5)

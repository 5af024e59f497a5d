"""What is found is compared with NumPy over the stored vectors."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from conftest import MESSAGES
from inbedder_retrieval import InputError, UnknownView, ViewCollection
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance
from numpy.typing import NDArray

from langchain_inbedder import InBedderVectorStore, SearchOptions
from langchain_inbedder.searches import Searches

QUERY = "I am so angry about my tent"
BOTH = {"product": 0.7, "feeling": 0.3}


@pytest.fixture
def five(messages: ViewCollection) -> InBedderVectorStore:
    return InBedderVectorStore(messages, view="feeling")


def cosines(store: InBedderVectorStore, view: str, query: str = QUERY) -> dict[str, float]:
    """The cosine of every message to the query, by id."""
    wanted = np.array(store.for_view(view).embeddings.embed_query(query))
    stored = store.collection.vectors(MESSAGES, view)
    return {name: float(vector @ wanted) for name, vector in stored.items()}


def best_first(scores: dict[str, float]) -> list[str]:
    return sorted(scores, key=lambda name: -scores[name])


@pytest.mark.parametrize("view", ["general", "product", "feeling"])
def test_scores_are_cosines_best_first(view: str, five: InBedderVectorStore) -> None:
    expected = cosines(five, view)
    for store, asked in ((five.for_view(view), None), (five, view)):
        found = store.similarity_search_with_score(QUERY, k=5, view=asked)
        assert [document.id for document, _ in found] == best_first(expected)
        for document, score in found:
            assert document.id is not None
            assert score == pytest.approx(expected[document.id], abs=1e-5)
            assert document.page_content == MESSAGES[document.id]
            assert document.metadata["tags"] == [document.id, "mail"]
    assert five.similarity_search(QUERY, k=2, view=view) == [one for one, _ in found[:2]]


def test_several_views_are_summed_by_weight(five: InBedderVectorStore) -> None:
    product, feeling = cosines(five, "product"), cosines(five, "feeling")
    expected = {name: 0.7 * product[name] + 0.3 * feeling[name] for name in MESSAGES}
    found = five.similarity_search_with_score(QUERY, k=5, views=BOTH)
    assert [document.id for document, _ in found] == best_first(expected)
    for document, score in found:
        assert score == pytest.approx(expected[str(document.id)], abs=1e-5)
    assert five.similarity_search(QUERY, k=5, views=BOTH) == [one for one, _ in found]
    ranks = five.similarity_search_with_score(QUERY, k=1, views=BOTH, fusion="ranks")
    assert 0 < ranks[0][1] <= 1 / 61


def test_relevance_is_from_0_to_1(five: InBedderVectorStore) -> None:
    expected = cosines(five, "feeling")
    for options in ({}, {"views": {"feeling": 0.2}}, {"fusion": "ranks"}):
        found = five.similarity_search_with_relevance_scores(QUERY, k=5, **options)
        assert [document.id for document, _ in found] == best_first(expected)
        for document, score in found:
            assert score == pytest.approx((1 + expected[str(document.id)]) / 2, abs=1e-5)
    [(itself, score)] = five.similarity_search_with_relevance_scores(MESSAGES["bag"], k=1)
    assert itself.id == "bag"
    assert score == pytest.approx(1, abs=1e-5)
    # Between two scores: at one of them the last digit of a float32 decides.
    middle = float(np.mean([score for _, score in found[2:4]]))
    near = five.similarity_search_with_relevance_scores(QUERY, k=5, score_threshold=middle)
    assert len(near) == 3
    retriever = five.as_retriever(
        search_type="similarity_score_threshold",
        search_kwargs={"k": 5, "score_threshold": middle},
    )
    assert retriever.invoke(QUERY) == [document for document, _ in near]


async def test_fused_scores_have_no_relevance(five: InBedderVectorStore) -> None:
    with pytest.raises(InputError, match="over the views product, feeling"):
        five.similarity_search_with_relevance_scores(QUERY, views=BOTH)
    with pytest.raises(InputError, match="similarity_search_with_score"):
        await five.asimilarity_search_with_relevance_scores(QUERY, views=BOTH)


def test_a_vector_finds_what_its_text_does(five: InBedderVectorStore) -> None:
    vector = five.embeddings.embed_query(QUERY)
    expected = five.similarity_search_with_score(QUERY, k=5)
    found = five.similarity_search_with_score_by_vector(vector, k=5)
    assert [one for one, _ in found] == [one for one, _ in expected]
    np.testing.assert_allclose([s for _, s in found], [s for _, s in expected], atol=1e-5)
    assert five.similarity_search_by_vector(vector, k=5) == [one for one, _ in expected]
    vectors = {view: five.for_view(view).embeddings.embed_query(QUERY) for view in BOTH}
    assert five.similarity_search_by_vector(vectors, views=BOTH) == five.similarity_search(
        QUERY, views=BOTH
    )
    with pytest.raises(InputError, match="shape"):
        five.similarity_search_by_vector([1.0, 0.0])


@pytest.mark.parametrize("weight", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_marginal_relevance_is_langchains(weight: float, five: InBedderVectorStore) -> None:
    near = five.similarity_search(QUERY, k=4)
    stored = five.collection.vectors([str(one.id) for one in near], "feeling")
    rows = [stored[str(one.id)].tolist() for one in near]
    wanted: NDArray[np.float64] = np.array(five.embeddings.embed_query(QUERY))
    chosen = maximal_marginal_relevance(wanted, rows, lambda_mult=weight, k=3)
    found = five.max_marginal_relevance_search(QUERY, k=3, fetch_k=4, lambda_mult=weight)
    assert found == [near[row] for row in chosen]
    assert found == five.max_marginal_relevance_search_by_vector(
        wanted.tolist(), k=3, fetch_k=4, lambda_mult=weight
    )


def test_marginal_relevance_goes_from_difference_to_nearness(five: InBedderVectorStore) -> None:
    assert five.max_marginal_relevance_search(QUERY, k=4, lambda_mult=1) == five.similarity_search(
        QUERY, k=4
    )
    # The second document is the one least like the first.
    [first] = five.similarity_search(QUERY, k=1)
    stored = five.collection.vectors(MESSAGES, "feeling")
    alike = {name: float(vector @ stored[str(first.id)]) for name, vector in stored.items()}
    found = five.max_marginal_relevance_search(QUERY, k=2, lambda_mult=0)
    assert [one.id for one in found] == [first.id, min(alike, key=lambda name: alike[name])]
    with pytest.raises(InputError, match="lambda_mult is 2"):
        five.max_marginal_relevance_search(QUERY, lambda_mult=2)


def test_an_answer_is_looked_for_as_one(five: InBedderVectorStore) -> None:
    view = five.collection.views["feeling"]
    wanted = five.collection.embedder.embed_answers(["fear"], view)["feeling"][0]
    stored = five.collection.vectors(MESSAGES, "feeling")
    found = five.similarity_search_with_score("fear", k=5, as_answer=True)
    for document, score in found:
        assert score == pytest.approx(float(stored[str(document.id)] @ wanted), abs=1e-5)
    assert found[0][0].id == "kettle"


def test_options_reach_the_collection(five: InBedderVectorStore) -> None:
    whole = five.similarity_search(QUERY, k=5)
    assert five.similarity_search(QUERY, k=2, offset=2) == whole[2:4]
    assert five.similarity_search(QUERY, k=5, exact=True) == whole
    scores = [score for _, score in five.similarity_search_with_score(QUERY, k=5)]
    assert len(five.similarity_search(QUERY, k=5, score_threshold=scores[2])) == 3
    assert five.similarity_search(QUERY, k=5, filter={"tags": "late"}) == [
        one for one in whole if one.id == "late"
    ]
    assert "tent" not in {one.id for one in five.similarity_search(QUERY, k=5, like=["tent"])}
    assert [one.id for one in five.similarity_search(QUERY, k=5, group_by="length", view=None)] == [
        one.id for one in whole
    ]


def test_options_that_cannot_be_used_are_refused(five: InBedderVectorStore) -> None:
    with pytest.raises(InputError, match="no option 'filters'; there are k and view"):
        five.similarity_search(QUERY, filters={"tags": "late"})  # type: ignore[call-arg]
    with pytest.raises(InputError, match="no option 'fetch_k'"):
        five.as_retriever(search_kwargs={"fetch_k": 3}).invoke(QUERY)
    with pytest.raises(UnknownView, match="need"):
        five.similarity_search(QUERY, view="need")
    with pytest.raises(InputError):
        five.similarity_search(QUERY, view="feeling", views=BOTH)
    with pytest.raises(InputError, match="limit is 0"):
        five.similarity_search(QUERY, k=0)


CALLS: list[tuple[str, dict[str, Any]]] = [
    ("similarity_search", {}),
    ("similarity_search", {"views": BOTH, "filter": {"length": {"$gt": 50}}}),
    ("similarity_search_with_score", {"view": "product"}),
    ("similarity_search_with_relevance_scores", {"score_threshold": 0.2}),
    ("max_marginal_relevance_search", {"lambda_mult": 0.2, "fetch_k": 5}),
]


@pytest.mark.parametrize(("name", "options"), CALLS)
async def test_an_awaited_call_finds_the_same(
    name: str, options: dict[str, Any], five: InBedderVectorStore
) -> None:
    blocking: Callable[..., Any] = getattr(five, name)
    awaited: Callable[..., Awaitable[Any]] = getattr(five, f"a{name}")
    found = await awaited(QUERY, k=3, **options)
    assert found == blocking(QUERY, k=3, **options)
    assert len(found) == 3


@pytest.mark.parametrize(
    "name",
    [
        "similarity_search_by_vector",
        "similarity_search_with_score_by_vector",
        "max_marginal_relevance_search_by_vector",
    ],
)
async def test_an_awaited_call_finds_the_same_by_vector(
    name: str, five: InBedderVectorStore
) -> None:
    vector = five.embeddings.embed_query(QUERY)
    found = await getattr(five, f"a{name}")(vector, k=3)
    assert found == getattr(five, name)(vector, k=3)
    assert len(found) == 3


def test_no_call_falls_back_to_the_cores() -> None:
    """The core's asynchronous calls run the blocking one in a thread, or are not there at all."""
    own = {name for kind in (InBedderVectorStore, Searches) for name in vars(kind)}
    through = {
        # These call the others.
        "similarity_search_with_relevance_scores",
        "asimilarity_search_with_relevance_scores",
        "search",
        "asearch",
        "as_retriever",
    }
    public = {
        name
        for name, value in vars(VectorStore).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or isinstance(value, classmethod))
    }
    assert public - through <= own


def test_the_options_are_those_that_a_search_takes() -> None:
    parameters = inspect.signature(ViewCollection.search).parameters
    renamed = {"score_threshold": "threshold", "as_answer": "answer"}
    asked = {renamed.get(name, name) for name in SearchOptions.__annotations__}
    assert asked <= parameters.keys()

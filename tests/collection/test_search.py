"""Searching a collection gives what brute force over the embedder's vectors gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inbedder_retrieval import (
    Document,
    Hit,
    InputError,
    TextError,
    UnknownView,
    View,
    ViewCollection,
    Views,
)
from inbedder_retrieval.testing import FakeEmbedder
from tests.collection.locations import KINDS, a_location

VIEWS = Views.of(
    {
        "general": None,
        "feeling": "How does the customer feel?",
        "need": "What does the customer need?",
    }
)
WORDS = ["phone", "lamp", "chair", "broken", "late", "love", "red", "blue", "my", "the", "is"]
RANDOM = np.random.default_rng(5)
TEXTS = [" ".join(RANDOM.choice(WORDS, size=RANDOM.integers(1, 6))) for _ in range(180)]
DOCUMENTS = [Document(text, id=n, metadata={"n": n}) for n, text in enumerate(TEXTS)]


@pytest.fixture(scope="module", params=KINDS)
def full(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ViewCollection]:
    """`DOCUMENTS` in a collection, to be read only."""
    with (
        a_location(request.param, tmp_path_factory.mktemp("search")) as location,
        ViewCollection.create(location, VIEWS, FakeEmbedder()) as collection,
    ):
        collection.add(DOCUMENTS)
        yield collection


def cosines(query: str, texts: list[str] = TEXTS) -> dict[str, Any]:
    """The cosine of the query with every text, by view name, in float64."""
    found = FakeEmbedder().embed([query, *texts], VIEWS)
    return {
        name: vectors[1:].astype(float) @ vectors[0].astype(float)
        for name, vectors in found.items()
    }


def assert_best(hits: list[Hit], exact: Any, limit: int, tolerance: float = 1e-6) -> None:
    """The hits are the `limit` best of `exact`, in order; equal scores may come in any order."""
    numbers = [int(hit.id) for hit in hits]
    scores = [hit.score for hit in hits]
    assert len(set(numbers)) == len(numbers) == min(limit, len(exact))
    assert scores == sorted(scores, reverse=True)
    np.testing.assert_allclose(scores, [exact[n] for n in numbers], atol=tolerance, rtol=0)
    np.testing.assert_allclose(scores, np.sort(exact)[::-1][:limit], atol=tolerance, rtol=0)


@pytest.mark.parametrize("view", VIEWS.names)
@pytest.mark.parametrize("limit", [1, 25, 10_000])
def test_one_view_gives_the_nearest_by_cosine(full: ViewCollection, view: str, limit: int) -> None:
    hits = full.search("my phone is broken", view=view, limit=limit)
    exact = cosines("my phone is broken")[view]
    assert_best(hits, exact, limit)
    for hit in hits:
        assert hit.scores == {view: pytest.approx(exact[int(hit.id)], abs=1e-6)}


@settings(max_examples=25, deadline=None)
@given(
    query=st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join),
    weights=st.dictionaries(
        st.sampled_from(VIEWS.names), st.floats(0.01, 100) | st.integers(1, 9), min_size=2
    ),
    limit=st.sampled_from([1, 10, 500]),
)
def test_several_views_give_the_weighted_sum_of_cosines(
    full: ViewCollection, query: str, weights: dict[str, float], limit: int
) -> None:
    exact = cosines(query)
    total = sum(weight * exact[name] for name, weight in weights.items())
    hits = full.search(query, views=weights, limit=limit)
    assert_best(hits, total, limit, 1e-6 * sum(weights.values()))
    for hit in hits:
        assert hit.scores == {
            name: pytest.approx(exact[name][int(hit.id)], abs=1e-6) for name in weights
        }


def test_hits_carry_the_document_and_come_ten_at_a_time(full: ViewCollection) -> None:
    hits = full.search("red lamp", view="need")
    assert len(hits) == 10
    for hit in hits:
        document = DOCUMENTS[int(hit.id)]
        assert (hit.text, hit.metadata) == (document.text, document.metadata)
        assert hit.answers == {}


def test_a_filtered_search_is_the_search_of_what_fits(full: ViewCollection) -> None:
    exact = cosines("red lamp")["need"][:50]
    assert_best(full.search("red lamp", view="need", limit=60, filter={"n": {"lt": 50}}), exact, 60)
    assert full.search("red lamp", view="need", filter={"n": -1}) == []


def test_answers_are_read_from_the_vectors_of_the_hits(full: ViewCollection) -> None:
    fake = FakeEmbedder()
    hits = full.search("red lamp", views=dict.fromkeys(VIEWS.names, 1.0), limit=4, explain=3)
    for hit in hits:
        assert set(hit.answers) == {"feeling", "need"}
        vectors = fake.embed([hit.text], VIEWS)
        for name, words in hit.answers.items():
            expected = fake.explain(vectors[name], top=3)[0]
            assert [word.word for word in words] == [word.word for word in expected]
            assert len(words) == 3
    assert all(hit.answers == {} for hit in full.search("x", view="general", explain=3))


def test_an_empty_collection_has_no_hits(collection: ViewCollection) -> None:
    assert collection.search("anything", view="need", explain=2) == []
    assert collection.search("anything", views={"need": 1, "feeling": 2}, explain=2) == []


def test_the_only_view_need_not_be_named(fake: FakeEmbedder) -> None:
    view = View("need", "What does the customer need?")
    with ViewCollection.create(":memory:", view, fake) as collection:
        collection.add([Document("red lamp", id=1)])
        assert collection.search("red lamp")[0].scores == {"need": pytest.approx(1, abs=1e-6)}


def test_unknown_views_are_answered_with_those_there_are(full: ViewCollection) -> None:
    options: Any
    for options in ({"view": "mood"}, {"views": {"need": 1.0, "mood": 1.0}}):
        with pytest.raises(UnknownView, match=r"'mood' here.* general, feeling, need"):
            full.search("x", **options)
    with pytest.raises(UnknownView, match=r"several views \(general, feeling, need\); say which"):
        full.search("x")


def test_a_view_and_several_views_are_not_both_searched(full: ViewCollection) -> None:
    with pytest.raises(InputError, match="both view and views were given"):
        full.search("x", view="need", views={"need": 1.0})
    with pytest.raises(InputError, match="no view was given to search"):
        full.search("x", views={})


@pytest.mark.parametrize(
    "weight",
    [0, -1, float("nan"), float("inf"), True, "1", None, 1e300, pytest.param(10**400, id="vast")],
)
@pytest.mark.parametrize("other", [{}, {"need": 1.0}])
def test_a_weight_is_a_positive_number(
    full: ViewCollection, weight: Any, other: dict[str, float]
) -> None:
    with pytest.raises(InputError, match="the weight of view 'feeling' is "):
        full.search("x", views={"feeling": weight} | other)


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, 10.0, "10", None, 10_001])
def test_a_limit_is_a_whole_number_within_bounds(full: ViewCollection, limit: Any) -> None:
    with pytest.raises(InputError, match=r"the limit is .* from 1 to 10000"):
        full.search("x", view="need", limit=limit)


@pytest.mark.parametrize("explain", [-1, 1.5, "3"])
def test_a_number_of_answer_words_is_a_whole_number(full: ViewCollection, explain: Any) -> None:
    for view in ("need", "general"):
        with pytest.raises(InputError, match="explain is "):
            full.search("x", view=view, explain=explain)


@pytest.mark.parametrize("query", [7, b"text", ["a", "b"], "cut in half \ud83d"])
def test_a_query_is_a_text(full: ViewCollection, query: Any) -> None:
    with pytest.raises(TextError, match="is not a string of Unicode characters"):
        full.search(query, view="need")

"""The options of a search: answers, examples, pages, groups, ranks, diversity, thresholds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient, models

from inbedder_retrieval import Document, DocumentError, Embedder, InputError, ViewCollection, Views
from inbedder_retrieval.testing import FakeEmbedder
from tests.collection.locations import KINDS, a_location

VIEWS = Views.of({"feeling": "How does the customer feel?", "need": "What is needed?"})
WORDS = ["phone", "lamp", "chair", "broken", "late", "love", "red", "blue", "my", "the", "is"]
RANDOM = np.random.default_rng(11)
# Texts of one to three words: many are alike, so that many scores are equal.
TEXTS = [" ".join(RANDOM.choice(WORDS, size=RANDOM.integers(1, 4))) for _ in range(150)]
DOCUMENTS = [
    Document(text, id=n, metadata={"n": n, "kind": WORDS[n % 5], "deep": {"k": n % 3}})
    for n, text in enumerate(TEXTS)
]
FAKE = FakeEmbedder()
VECTORS = FAKE.embed(TEXTS, VIEWS)


@pytest.fixture(scope="module", params=KINDS)
def full(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ViewCollection]:
    """`DOCUMENTS` in a collection, to be read only."""
    with (
        a_location(request.param, tmp_path_factory.mktemp("options")) as location,
        ViewCollection.create(location, VIEWS, FAKE) as collection,
    ):
        collection.add(DOCUMENTS)
        yield collection


def ids(hits: Any) -> list[str]:
    return [hit.id for hit in hits]


@pytest.mark.parametrize("options", [{}, {"views": {"feeling": 1.0, "need": 2.0}}])
@pytest.mark.parametrize("page", [1, 7, 40])
def test_pages_joined_are_one_long_page(full: ViewCollection, page: int, options: Any) -> None:
    """Also where a page ends among equal scores."""
    named = options or {"view": "need"}
    whole = full.search("the lamp", limit=120, candidates=150, **named)
    assert [hit.score for hit in whole] == sorted((hit.score for hit in whole), reverse=True)
    assert len({hit.score for hit in whole}) < 100, "there are ties"
    pages = [
        hit
        for start in range(0, 120, page)
        for hit in full.search(
            "the lamp", limit=min(page, 120 - start), offset=start, candidates=150, **named
        )
    ]
    assert ids(pages) == ids(whole)


def test_a_page_beyond_the_last_hit_is_empty(full: ViewCollection) -> None:
    assert full.search("the lamp", view="need", offset=150) == []
    assert len(full.search("the lamp", view="need", offset=147)) == 3


@settings(max_examples=25, deadline=None)
@given(
    like=st.lists(st.integers(0, 149), min_size=1, max_size=4, unique=True),
    unlike=st.lists(st.integers(0, 149), max_size=3, unique=True),
)
def test_examples_find_what_qdrants_recommendation_finds(
    full: ViewCollection, like: list[int], unlike: list[int]
) -> None:
    unlike = [n for n in unlike if n not in like]
    client = QdrantClient(":memory:")
    client.create_collection("c", models.VectorParams(size=32, distance=models.Distance.COSINE))
    rows = VECTORS["need"].tolist()
    client.upsert("c", [models.PointStruct(id=n, vector=row) for n, row in enumerate(rows)])
    recommend = models.RecommendInput(
        positive=list[Any](like),
        negative=list[Any](unlike),
        strategy=models.RecommendStrategy.AVERAGE_VECTOR,
    )
    query = models.RecommendQuery(recommend=recommend)
    theirs = {
        str(point.id): point.score for point in client.query_points("c", query, limit=150).points
    }
    ours = full.search(like=like, unlike=unlike, view="need", limit=150)
    assert {hit.id: hit.score for hit in ours} == pytest.approx(theirs, abs=1e-5)
    client.close()


def test_a_text_and_examples_join_to_their_mean(full: ViewCollection) -> None:
    asked = FAKE.embed(["red chair"], VIEWS)["need"][0].astype(float)
    wanted = (asked + VECTORS["need"][3].astype(float)) / 2
    vector = 2 * wanted - VECTORS["need"][8]
    exact = VECTORS["need"].astype(float) @ (vector / np.linalg.norm(vector))
    hits = full.search("red chair", like=[3], unlike=["8"], view="need", limit=150)
    assert {int(hit.id): hit.score for hit in hits} == pytest.approx(
        {n: score for n, score in enumerate(exact) if n not in (3, 8)}, abs=1e-6
    )


def test_an_example_has_to_be_stored(full: ViewCollection) -> None:
    with pytest.raises(DocumentError, match="document 'nobody' is to be an example, and is not"):
        full.search(like=["nobody"], view="need")
    with pytest.raises(InputError, match="there is nothing to look for"):
        full.search(unlike=[1], view="need")
    with pytest.raises(InputError, match="give a list of ids"):
        full.search(like="13", view="need")


def test_what_is_wanted_and_not_wanted_at_once_is_refused(tmp_path: Any) -> None:
    with ViewCollection.create(":memory:", VIEWS, FAKE) as collection:
        collection.add([Document("a", id=1), Document("a", id=2), Document("b", id=3)])
        # Twice the mean of a and -a cancels out only for opposite vectors: 2a - (2a) needs two.
        hits = collection.search(like=[1], unlike=[2], view="need")
        assert ids(hits) == ["3"]


def test_an_answer_is_embedded_as_an_answer(packaged: Embedder) -> None:
    texts = ["I want my money back", "Where is my parcel?", "Send me a manual please"]
    need = {"need": "What does the customer need?", "feeling": "How does the customer feel?"}
    with ViewCollection.create(":memory:", need, packaged) as collection:
        collection.add(Document(text, id=n) for n, text in enumerate(texts))
        vectors = packaged.embed(texts, need)
        answer = packaged.embed_answers(["a refund"], need)
        for view in need:
            exact = dict(enumerate((vectors[view] @ answer[view][0]).tolist()))
            hits = collection.search(answer="a refund", view=view)
            assert {int(hit.id): hit.score for hit in hits} == pytest.approx(exact, abs=1e-5)
        assert ids(collection.search(answer="a refund", view="need", limit=1)) == ["0"]
        both = {"need": "a refund", "feeling": "angry"}
        other = packaged.embed_answers(["angry"], need)
        exact = vectors["need"] @ answer["need"][0] + vectors["feeling"] @ other["feeling"][0]
        hits = collection.search(answer=both)
        assert {int(h.id): h.score for h in hits} == pytest.approx(dict(enumerate(exact.tolist())))
        with pytest.raises(InputError, match="answers are given for need, and the views searched"):
            collection.search(answer={"need": "a refund"}, views={"need": 1, "feeling": 1})


def test_a_vector_finds_what_its_text_finds(full: ViewCollection) -> None:
    asked = FAKE.embed(["red chair"], VIEWS)
    by_text = full.search("red chair", view="need", limit=150)
    by_vector = full.search(vector=7 * asked["need"][0], view="need", limit=150)
    assert {h.id: h.score for h in by_vector} == pytest.approx(
        {hit.id: hit.score for hit in by_text}, abs=1e-6
    )
    weights = {"feeling": 1.0, "need": 2.0}
    vectors = {name: asked[name][0].tolist() for name in weights}
    by_text = full.search("red chair", views=weights, limit=150)
    by_vector = full.search(vector=vectors, views=weights, limit=150)
    assert {h.id: h.score for h in by_vector} == pytest.approx(
        {hit.id: hit.score for hit in by_text}, abs=1e-5
    )


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
def test_the_length_of_a_vector_says_nothing(full: ViewCollection, scale: float) -> None:
    vector = np.linspace(-1, 1, 32)
    wanted = full.search(vector=vector, view="need")
    assert full.search(vector=vector * scale, view="need") == wanted


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (np.zeros(32), "not all zero"),
        (np.ones(31), r"has the shape \(31,\); view 'need' takes \(32,\)"),
        (np.full(32, np.nan), "finite"),
        ("text", "no array of numbers"),
        ({"feeling": np.ones(32)}, "vectors are given for feeling, and view 'need' is searched"),
    ],
)
def test_a_vector_of_another_kind_is_refused(
    full: ViewCollection, vector: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        full.search(vector=vector, view="need")


def test_ranks_are_fused_over_the_views(full: ViewCollection) -> None:
    weights = {"feeling": 1.0, "need": 3.0}
    hits = full.search("the lamp", views=weights, fusion="ranks", limit=150)
    expected: dict[str, float] = {}
    for view, weight in weights.items():
        for rank, hit in enumerate(full.search("the lamp", view=view, limit=150), 1):
            expected[hit.id] = expected.get(hit.id, 0) + weight / (60 + rank)
    assert {hit.id: hit.score for hit in hits} == pytest.approx(expected)
    asked = FAKE.embed(["the lamp"], VIEWS)
    for hit in hits[:20]:
        exact = {name: float(VECTORS[name][int(hit.id)] @ asked[name][0]) for name in weights}
        assert hit.scores == pytest.approx(exact, abs=1e-5)


def test_a_threshold_cuts_the_hits_and_nothing_else(full: ViewCollection) -> None:
    every = full.search("the lamp", view="need", limit=150)
    least = every[30].score
    assert ids(full.search("the lamp", view="need", limit=150, threshold=least)) == [
        hit.id for hit in every if hit.score >= least
    ]
    assert full.search("the lamp", view="need", threshold=1.1) == []


def test_diversity_goes_from_relevance_to_difference(full: ViewCollection) -> None:
    def likeness(hits: Any) -> float:
        rows = np.stack([VECTORS["need"][int(hit.id)] for hit in hits])
        return float((rows @ rows.T)[np.triu_indices(len(rows), 1)].mean())

    plain = full.search("the lamp", view="need", limit=8)
    assert ids(full.search("the lamp", view="need", limit=8, diversity=0.0)) == ids(plain)
    varied = full.search("the lamp", view="need", limit=8, diversity=0.7)
    assert varied[0].id == plain[0].id
    assert likeness(varied) < likeness(plain)
    pages = [full.search("the lamp", view="need", limit=4, offset=n, diversity=0.7) for n in (0, 4)]
    assert ids(pages[0] + pages[1]) == ids(varied)


@pytest.mark.parametrize("size", [1, 2, 50])
def test_groups_are_those_of_the_whole_ranking(full: ViewCollection, size: int) -> None:
    every = full.search("the lamp", view="need", limit=150)
    groups: dict[str, list[str]] = {}
    for hit in every:
        members = groups.setdefault(hit.metadata["kind"], [])
        members += [hit.id] if len(members) < size else []
    hits = full.search("the lamp", view="need", limit=5, group_by="kind", group_size=size)
    assert [(hit.group, hit.id) for hit in hits] == [
        (value, one) for value, members in groups.items() for one in members
    ]
    second = full.search(
        "the lamp", view="need", limit=2, offset=1, group_by="kind", group_size=size
    )
    assert {hit.group for hit in second} == set(list(groups)[1:3])
    deep = full.search("the lamp", view="need", group_by="deep.k")
    assert sorted(str(hit.group) for hit in deep) == ["0", "1", "2"]
    assert full.search("the lamp", view="need", group_by="no.such") == []
    quoted = full.search("the lamp", view="need", group_by='"deep"."k"')
    assert [hit.group for hit in quoted] == [hit.group for hit in deep]


def test_answer_words_come_with_true(full: ViewCollection) -> None:
    [hit] = full.search("the lamp", view="need", limit=1, explain=True)
    assert len(hit.answers["need"]) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"offset": -1}, "the offset is -1"),
        ({"offset": 9_995}, "reach beyond 10000 hits"),
        ({"threshold": "high"}, "the threshold is 'high'"),
        ({"threshold": float("nan")}, "the threshold is nan"),
        ({"diversity": 1.5}, "the diversity is 1.5; give a number from 0 to 1"),
        ({"diversity": 0.5, "fusion": "ranks"}, "diversity needs cosines"),
        ({"diversity": 0.5, "group_by": "kind"}, "diversity needs cosines"),
        ({"fusion": "max"}, "choose 'sum' or 'ranks'"),
        ({"group_by": "kind", "group_size": 0}, "the group_size is 0"),
        ({"group_by": "a..b"}, "names the field 'a..b'"),
        ({"candidates": 0}, "the candidates is 0"),
    ],
)
def test_an_option_out_of_range_is_refused(
    full: ViewCollection, options: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        full.search("x", view="need", **options)

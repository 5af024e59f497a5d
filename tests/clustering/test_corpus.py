"""A corpus: the documents of a collection, or of a file, with their vectors, by id."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inbedder_retrieval import Document, InputError, ViewCollection, Views
from inbedder_retrieval.corpus import embed_corpus, read_corpus
from inbedder_retrieval.testing import FakeEmbedder

VIEWS = Views.of({"general": None, "q": "What?"})
DOCUMENTS = [
    Document(f"text {k} of {k % 7}", id=f"{k * 7919 % 2_500:04d}", metadata={"k": k % 2})
    for k in range(2_500)
]


def test_what_is_read_is_what_was_embedded_in_the_order_of_ids(tmp_path: Path) -> None:
    said: list[tuple[str, int, int]] = []
    with ViewCollection.create(tmp_path / "c", VIEWS, FakeEmbedder()) as collection:
        collection.add(DOCUMENTS)
        read = read_corpus(collection, ["q"], progress=lambda *step: said.append(step))
        odd = read_corpus(collection, ["q"], filter={"k": 1})
    embedded = embed_corpus(DOCUMENTS, VIEWS, FakeEmbedder())
    assert [one.id for one in read.documents] == sorted(one.id for one in DOCUMENTS)
    assert read.documents == embedded.documents
    assert list(read.vectors) == ["q"]
    np.testing.assert_allclose(read.of("q"), embedded.of("q"), atol=1e-6)
    assert said[-1] == ("reading documents", 2_500, 2_500)
    assert len(odd.documents) == 1_250


def test_of_equal_ids_the_last_one_counts() -> None:
    twice = [Document("first", id="a"), Document("second", id="a"), Document("b", id="b")]
    assert [one.text for one in embed_corpus(twice, VIEWS, FakeEmbedder()).documents] == [
        "second",
        "b",
    ]


def test_no_document_is_refused() -> None:
    with pytest.raises(InputError, match="no document"):
        embed_corpus([], VIEWS, FakeEmbedder())


def test_words_are_answers_where_there_is_a_question_and_terms_elsewhere() -> None:
    fake = FakeEmbedder()
    corpus = embed_corpus([Document("red lamp"), Document("blue chair")], VIEWS, fake)
    expected = [[word.word for word in words] for words in fake.explain(corpus.of("q"), top=5)]
    assert [[word for word, _ in words] for words in corpus.words("q")] == expected
    assert sorted(word for words in corpus.words("general") for word, _ in words) == [
        "blue",
        "chair",
        "lamp",
        "red",
    ]
    assert corpus.words("q") is corpus.words("q")

from __future__ import annotations

import asyncio
import json
import pickle
import threading
from typing import Any

import numpy as np
import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.embedding import (
    EmbeddingEndEvent,
    EmbeddingStartEvent,
)
from llama_index.core.schema import MetadataMode, TextNode
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index_instrumentation import root_dispatcher

from inbedder_retrieval import Embedder, Embeddings, ModelMismatch, View, ViewError
from inbedder_retrieval.testing import FakeEmbedder
from inbedder_retrieval.views import ViewsLike
from llama_index.embeddings.inbedder import InBedderEmbedding

FEELING, NEED = "How does the customer feel?", "What does the customer need?"
TEXTS = ["my tent broke", "thank you for the kettle", "where is the kettle"]


class Answering(FakeEmbedder):
    """A fake whose answers are embedded otherwise than its texts."""

    def embed_answers(self, answers: Any, views: ViewsLike) -> Embeddings:
        return super().embed_answers([f"answer {one}" for one in answers], views)


class Watched(FakeEmbedder):
    """A fake that notes the threads it was called in."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    def embed(self, texts: Any, views: ViewsLike) -> Embeddings:
        self.threads.add(threading.get_ident())
        return super().embed(texts, views)


def test_vectors_are_those_of_the_library() -> None:
    embedding = InBedderEmbedding(FEELING)
    wanted = Embedder().embed(TEXTS, View("feeling", FEELING))["feeling"]
    np.testing.assert_allclose(embedding.get_text_embedding_batch(TEXTS), wanted, atol=1e-6)
    np.testing.assert_allclose(embedding.get_query_embedding(TEXTS[0]), wanted[0], atol=0.02)
    general = Embedder().embed(TEXTS[:1], {"general": None})["general"][0]
    np.testing.assert_allclose(InBedderEmbedding().get_text_embedding(TEXTS[0]), general, atol=1e-6)


def test_a_batch_is_one_call_of_the_model_and_in_order() -> None:
    embedder = Watched()
    embedding = InBedderEmbedding(NEED, embedder=embedder, embed_batch_size=2)
    found = embedding.get_text_embedding_batch(TEXTS)
    np.testing.assert_allclose(found, embedder.embed(TEXTS, View("n", NEED))["n"], atol=1e-6)
    assert isinstance(found[0][0], float)
    assert embedding.get_text_embedding_batch([]) == []


def test_a_query_may_be_the_answer_looked_for() -> None:
    model = Answering()
    embedding = InBedderEmbedding(NEED, embedder=model, queries="answer")
    wanted = model.embed_answers(["a refund"], View("n", NEED))["n"][0]
    np.testing.assert_allclose(embedding.get_query_embedding("a refund"), wanted, atol=1e-6)
    as_text = model.embed(["a refund"], View("n", NEED))["n"][0]
    np.testing.assert_allclose(embedding.get_text_embedding("a refund"), as_text, atol=1e-6)


def test_asyncio_embeds_the_same_in_other_threads() -> None:
    embedder = Watched()
    embedding = InBedderEmbedding(NEED, embedder=embedder, embed_batch_size=1)

    async def calls() -> tuple[list[float], list[float], list[list[float]]]:
        return (
            await embedding.aget_query_embedding(TEXTS[0]),
            await embedding.aget_text_embedding(TEXTS[0]),
            await embedding.aget_text_embedding_batch(TEXTS),
        )

    query, text, batch = asyncio.run(calls())
    assert threading.get_ident() not in embedder.threads
    assert query == text == batch[0] == embedding.get_text_embedding(TEXTS[0])
    assert batch == embedding.get_text_embedding_batch(TEXTS)


def test_a_nodes_text_is_embedded_without_its_metadata_unless_asked_for() -> None:
    model = FakeEmbedder()
    node = TextNode(text="a tent", metadata={"colour": "red"})
    plain, whole = model.embed(["a tent", "colour: red\n\na tent"], {"general": None})["general"]
    [found] = InBedderEmbedding(embedder=model)([node])
    np.testing.assert_allclose(found.get_embedding(), plain, atol=1e-6)
    asked = InBedderEmbedding(embedder=model, metadata_mode=MetadataMode.EMBED)
    [found] = asyncio.run(asked.acall([node]))
    np.testing.assert_allclose(found.get_embedding(), whole, atol=1e-6)


class Unprotected(InBedderEmbedding):
    """What the embedding would be with LlamaIndex's cache as it is."""

    def __setattr__(self, name: str, value: Any) -> None:
        BaseEmbedding.__setattr__(self, name, value)


def answers(kind: type[InBedderEmbedding], how: str) -> dict[str, list[float]]:
    """The vectors of one text as asked for by three embeddings that share a cache."""
    cache, model = SimpleKVStore(), Answering()
    feeling = kind(FEELING, embedder=model, embeddings_cache=cache)
    need = kind(NEED, embedder=model, embeddings_cache=cache, queries="answer")
    other = kind(NEED, embedder=Answering(seed=1), embeddings_cache=cache)
    found: dict[str, list[float]] = {}

    async def asked() -> None:
        for turn in ("first", "again"):
            for name, one in {"feeling": feeling, "need": need, "other": other}.items():
                found[f"{name} text {turn}"] = await one.aget_text_embedding("a refund")
                found[f"{name} query {turn}"] = await one.aget_query_embedding("a refund")
                [found[f"{name} batch {turn}"]] = await one.aget_text_embedding_batch(["a refund"])

    if how == "async":
        asyncio.run(asked())
        return found
    for turn in ("first", "again"):
        for name, one in {"feeling": feeling, "need": need, "other": other}.items():
            found[f"{name} text {turn}"] = one.get_text_embedding("a refund")
            found[f"{name} query {turn}"] = one.get_query_embedding("a refund")
            [found[f"{name} batch {turn}"]] = one.get_text_embedding_batch(["a refund"])
    return found


def cosine_errors(found: dict[str, list[float]]) -> int:
    """Count the vectors that are not those of the model, asked without a cache."""
    model, other = Answering(), Answering(seed=1)
    wrong = 0
    for name, vector in found.items():
        who, kind, _ = name.split()
        used = other if who == "other" else model
        view = View("v", FEELING if who == "feeling" else NEED)
        embed = used.embed_answers if (who, kind) == ("need", "query") else used.embed
        wrong += not np.allclose(embed(["a refund"], view)["v"][0], vector, atol=1e-6)
    return wrong


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_shared_cache_mixes_neither_questions_nor_models_nor_queries_with_texts(how: str) -> None:
    assert cosine_errors(answers(InBedderEmbedding, how)) == 0
    # Without the protection most of these are another's: the test would notice.
    assert cosine_errors(answers(Unprotected, how)) > 10


def test_a_cache_saves_the_model_and_may_be_set_later() -> None:
    model = FakeEmbedder()
    embedding = InBedderEmbedding(FEELING, embedder=model)
    embedding.embeddings_cache = SimpleKVStore()
    first = embedding.get_text_embedding_batch(TEXTS)
    assert model.texts_seen == 3
    assert embedding.get_text_embedding_batch(TEXTS) == first
    assert embedding.get_text_embedding(TEXTS[0]) == first[0]
    assert model.texts_seen == 3
    embedding.get_query_embedding(TEXTS[0])
    assert model.texts_seen == 4
    embedding.embeddings_cache = None
    embedding.get_text_embedding(TEXTS[0])
    assert model.texts_seen == 5


def test_it_is_written_and_read_without_the_model() -> None:
    embedding = InBedderEmbedding(
        FEELING, queries="answer", metadata_mode=MetadataMode.EMBED, embed_batch_size=7, threads=1
    )
    vector = embedding.get_text_embedding(TEXTS[0])
    data = json.loads(embedding.to_json())
    assert data["class_name"] == InBedderEmbedding.class_name() == "InBedderEmbedding"
    assert data["model_name"] == Embedder().name
    again = InBedderEmbedding.from_dict(data)
    assert again.to_dict() == embedding.to_dict()
    assert again.get_text_embedding(TEXTS[0]) == vector
    assert len(pickle.dumps(embedding)) < 10_000
    assert pickle.loads(pickle.dumps(embedding)).get_text_embedding(TEXTS[0]) == vector


def test_a_pickled_embedding_keeps_its_cache_and_its_scope() -> None:
    embedding = InBedderEmbedding(FEELING, embeddings_cache=SimpleKVStore())
    vector = embedding.get_text_embedding(TEXTS[0])
    again = pickle.loads(pickle.dumps(embedding))
    assert again.get_text_embedding(TEXTS[0]) == vector
    assert again.get_query_embedding(TEXTS[0]) == pytest.approx(vector, abs=0.02)


def test_what_tells_embeddings_apart_is_in_what_is_written() -> None:
    """An ingestion cache goes by it: it must not take one for the other, nor change with use."""
    model = FakeEmbedder()
    ones = [
        InBedderEmbedding(FEELING, embedder=model),
        InBedderEmbedding(NEED, embedder=model),
        InBedderEmbedding(NEED, embedder=FakeEmbedder(seed=1)),
        InBedderEmbedding(NEED, embedder=model, queries="answer"),
        InBedderEmbedding(embedder=model),
    ]
    assert len({str(one.to_dict()) for one in ones}) == len(ones)
    embedding = InBedderEmbedding(FEELING)
    before = embedding.to_dict()
    embedding.get_text_embedding(TEXTS[0])
    assert embedding.to_dict() == before


def test_another_model_under_the_same_name_is_refused() -> None:
    data = InBedderEmbedding(NEED, embedder=FakeEmbedder()).to_dict()
    assert InBedderEmbedding.from_dict(data, embedder=FakeEmbedder()).get_text_embedding("a")
    with pytest.raises(ModelMismatch, match="fake-1-32"):
        InBedderEmbedding.from_dict(data, embedder=FakeEmbedder(seed=1))


def test_a_question_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ViewError, match="a question must hold some text"):
        InBedderEmbedding(" ")


class Kept(BaseEventHandler):
    events: list[BaseEvent] = []  # noqa: RUF012 - a pydantic field

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        self.events.append(event)


def test_events_say_what_is_embedded() -> None:
    kept = Kept()
    root_dispatcher.add_event_handler(kept)
    try:
        embedding = InBedderEmbedding(FEELING, embedder=FakeEmbedder())
        vectors = embedding.get_text_embedding_batch(TEXTS)
        embedding.get_query_embedding("a refund")
    finally:
        root_dispatcher.event_handlers.remove(kept)
    starts = [one for one in kept.events if isinstance(one, EmbeddingStartEvent)]
    ends = [one for one in kept.events if isinstance(one, EmbeddingEndEvent)]
    assert [one.model_dict["instruction"] for one in starts] == [FEELING, FEELING]
    assert [one.chunks for one in ends] == [TEXTS, ["a refund"]]
    assert ends[0].embeddings == vectors

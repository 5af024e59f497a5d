from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from conftest import MESSAGES
from inbedder_retrieval import InputError, UnknownView, ViewCollection, Where
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.runnables import ConfigurableField
from pydantic import ValidationError

from langchain_inbedder import InBedderRetriever, InBedderVectorStore

QUERY = "I am so happy with this kettle!"
BOTH = {"product": 0.5, "feeling": 0.5}


def ids(documents: Sequence[Document]) -> list[str | None]:
    return [document.id for document in documents]


def nearest(collection: ViewCollection, **options: Any) -> list[str]:
    return [hit.id for hit in collection.search(QUERY, **options)]


def test_it_searches_one_view_or_several(messages: ViewCollection) -> None:
    one = InBedderRetriever(collection=messages, view="feeling", k=3)
    assert ids(one.invoke(QUERY)) == nearest(messages, view="feeling", limit=3)
    first = InBedderRetriever(collection=messages)
    assert ids(first.invoke(QUERY)) == nearest(messages, view="general", limit=4)
    several = InBedderRetriever(collection=messages, views=BOTH, k=1)
    assert ids(several.invoke(QUERY)) == nearest(messages, views=BOTH, limit=1) == ["thanks"]


async def test_every_field_can_be_given_to_a_call(messages: ViewCollection) -> None:
    retriever = InBedderRetriever(collection=messages, views=BOTH, k=1)
    calls: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"k": 3}, {"views": BOTH, "limit": 3}),
        ({"view": "product"}, {"view": "product", "limit": 1}),
        ({"views": {"general": 1.0}}, {"view": "general", "limit": 1}),
        ({"k": 5, "filter": {"tags": {"$ne": "thanks"}}}, {
            "views": BOTH, "limit": 5, "filter": Where.field("tags") != "thanks"
        }),
        ({"k": 2, "offset": 1}, {"views": BOTH, "limit": 2, "offset": 1}),
        ({"k": 3, "lambda_mult": 0.1}, {"views": BOTH, "limit": 3, "diversity": 0.9}),
        ({"k": 5, "fusion": "ranks"}, {"views": BOTH, "limit": 5, "fusion": "ranks"}),
        ({"k": 5, "score_threshold": 0.5}, {"views": BOTH, "limit": 5, "threshold": 0.5}),
    ]  # fmt: skip
    for overrides, options in calls:
        expected = nearest(messages, **options)
        assert ids(retriever.invoke(QUERY, **overrides)) == expected
        assert ids(await retriever.ainvoke(QUERY, **overrides)) == expected
    assert ids(retriever.invoke(QUERY)) == ["thanks"]
    with pytest.raises(InputError, match="no option 'top_k'"):
        retriever.invoke(QUERY, top_k=3)


def test_an_answer_is_looked_for_as_one(messages: ViewCollection) -> None:
    retriever = InBedderRetriever(collection=messages, view="feeling", as_answer=True, k=1)
    [hit] = messages.search(answer="fear", view="feeling", limit=1)
    assert ids(retriever.invoke("fear")) == [hit.id] == ["kettle"]


async def test_marginal_relevance_is_the_stores(messages: ViewCollection) -> None:
    store = InBedderVectorStore(messages, view="feeling")
    expected = store.max_marginal_relevance_search(QUERY, k=3, fetch_k=5, lambda_mult=0.2)
    retriever = InBedderRetriever(
        collection=messages, view="feeling", k=3, fetch_k=5, lambda_mult=0.2
    )
    assert retriever.invoke(QUERY) == await retriever.ainvoke(QUERY) == expected
    plain = retriever.invoke(QUERY, lambda_mult=None)
    assert plain == store.similarity_search(QUERY, k=3)


async def test_many_questions_are_asked_at_once(messages: ViewCollection) -> None:
    retriever = InBedderRetriever(collection=messages, view="product", k=1)
    queries = list(MESSAGES.values())
    expected = [[name] for name in MESSAGES]
    assert [ids(found) for found in retriever.batch(queries)] == expected
    assert [ids(found) for found in await retriever.abatch(queries)] == expected


def test_fields_are_configurable(messages: ViewCollection) -> None:
    retriever = InBedderRetriever(collection=messages, view="product", k=1).configurable_fields(
        view=ConfigurableField(id="view"), k=ConfigurableField(id="k")
    )
    found = retriever.with_config(configurable={"view": "feeling", "k": 2}).invoke(QUERY)
    assert ids(found) == nearest(messages, view="feeling", limit=2)
    with pytest.raises(UnknownView, match="there are general, product, feeling"):
        retriever.with_config(configurable={"view": "need"}).invoke(QUERY)


def test_callbacks_hear_of_it(messages: ViewCollection) -> None:
    class Heard(BaseCallbackHandler):
        def __init__(self) -> None:
            self.documents: list[Document] = []

        def on_retriever_end(self, documents: Sequence[Document], **_: Any) -> None:
            self.documents += documents

    heard = Heard()
    retriever = InBedderRetriever(collection=messages, k=2)
    assert retriever.invoke(QUERY, {"callbacks": [heard]}) == heard.documents


def test_what_it_cannot_search_is_refused_when_it_is_made(messages: ViewCollection) -> None:
    with pytest.raises(UnknownView, match="no view 'need'"):
        InBedderRetriever(collection=messages, view="need")
    with pytest.raises(UnknownView, match="no view 'need'"):
        InBedderRetriever(collection=messages, views={"product": 1, "need": 1})
    with pytest.raises(ValidationError, match="top_k"):
        InBedderRetriever(collection=messages, top_k=3)  # type: ignore[call-arg]

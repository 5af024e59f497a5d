from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import MESSAGES, QUESTIONS
from inbedder_retrieval import Embedder, InputError, ViewCollection
from inbedder_retrieval.testing import FakeEmbedder
from langchain_core.language_models.fake_chat_models import (
    FakeListChatModel,
    ParrotFakeChatModel,
)
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableLambda
from pydantic import ValidationError

from langchain_inbedder import ViewRouter

# Questions about two collections that the router was not made with.
ARTICLES = {
    "topic": "What is the article about?",
    "emotion": "How does the writer feel?",
    "country": "Which country is it about?",
}
GUESTS = {
    "food": "What did the guest eat?",
    "feeling": "How does the guest feel?",
    "problem": "What went wrong?",
}
MEANT: list[tuple[dict[str, str], dict[str, str]]] = [
    (ARTICLES, {
        "articles on gardening": "topic", "anything about football": "topic",
        "stories about cooking": "topic", "the stock market": "topic",
        "who writes full of joy": "emotion", "angry opinion pieces": "emotion",
        "anxious writers": "emotion", "something melancholic": "emotion",
        "news from Brazil": "country", "what goes on in Japan": "country",
        "reports on Kenya": "country", "elections in Germany": "country",
    }),
    (GUESTS, {
        "who had the pizza": "food", "reviews that mention the fish soup": "food",
        "guests that ate pancakes": "food", "vegan curry": "food",
        "delighted guests": "feeling", "who was bored": "feeling",
        "people that were furious": "feeling", "disappointed visitors": "feeling",
        "who found a hair in the soup": "problem", "complaints about slow service": "problem",
        "the bill was wrong": "problem", "rude waiters": "problem",
    }),
]  # fmt: skip


async def test_the_embedder_picks_by_its_answer_words(messages: ViewCollection) -> None:
    router = ViewRouter(messages)
    picked = {
        "anything about the tent": "product",
        "problems with the coffee machine": "product",
        "customers who are furious": "feeling",
        "someone sad and disappointed": "feeling",
    }
    for question, view in picked.items():
        assert router.pick(question) == view
        assert await router.apick(question) == view


def test_the_embedder_is_right_as_often_as_the_readme_says(embedder: Embedder) -> None:
    right = 0
    for views, meant in MEANT:
        with ViewCollection.create(":memory:", views, embedder) as collection:
            router = ViewRouter(collection)
            right += sum(router.pick(question) == view for question, view in meant.items())
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    assert "20 of 24 questions" in readme
    # Another CPU may round an int8 model otherwise.
    assert abs(right - 20) <= 1


async def test_a_language_model_picks_by_name(messages: ViewCollection) -> None:
    llm = FakeListChatModel(responses=["product", "It is about the feeling."])
    router = ViewRouter(messages, llm=llm)
    assert [router.pick("?"), await router.apick("?")] == ["product", "feeling"]


def test_a_language_model_is_told_the_questions(messages: ViewCollection) -> None:
    heard: list[str] = []

    def listening(prompt: Any) -> Any:
        heard.extend(message.text for message in prompt.to_messages())
        return ParrotFakeChatModel().invoke(prompt)

    router = ViewRouter(messages, llm=RunnableLambda(listening))
    assert router.pick("which feeling?") == "feeling"
    system, human = heard
    assert "- product: Which product is it about?\n- feeling: How does" in system
    assert "general" not in system
    assert human == "which feeling?"


def test_a_reply_that_names_no_view_is_refused_or_replaced(messages: ViewCollection) -> None:
    for reply in ("none of them", "product or feeling", "reproduction"):
        llm = FakeListChatModel(responses=[reply])
        with pytest.raises(InputError, match="one of the views product, feeling, and replied"):
            ViewRouter(messages, llm=llm).pick("?")
        assert ViewRouter(messages, llm=llm, otherwise="general").pick("?") == "general"


def test_a_name_within_another_is_told_from_it(fake: FakeEmbedder) -> None:
    views = {"need": "What is needed?", "need-type": "What kind of need is it?"}
    with ViewCollection.create(":memory:", views, fake) as collection:
        for reply, meant in {"need-type": "need-type", "Need.": "need", "need": "need"}.items():
            llm = FakeListChatModel(responses=[reply])
            assert ViewRouter(collection, llm=llm).pick("?") == meant
        llm = FakeListChatModel(responses=["need-type or need"])
        with pytest.raises(InputError, match="one of the views"):
            ViewRouter(collection, llm=llm).pick("?")


def test_there_must_be_a_question_to_choose(fake: FakeEmbedder) -> None:
    with (
        ViewCollection.create(":memory:", {"general": None}, fake) as collection,
        pytest.raises(InputError, match="no view with a question"),
    ):
        ViewRouter(collection).pick("?")


async def test_a_tool_searches_the_view_it_is_given_or_picks_one(
    messages: ViewCollection,
) -> None:
    tool = ViewRouter(messages).as_tool(k=2)
    for view, question in QUESTIONS.items():
        assert f"- {view}: {question or 'the text as a whole'}" in tool.description
    for arguments, view in (
        ({"query": "the tent", "view": "feeling"}, "feeling"),
        ({"query": "anything about the tent"}, "product"),
    ):
        hits = messages.search(arguments["query"], view=view, limit=2)
        call = {"name": tool.name, "args": arguments, "id": "1", "type": "tool_call"}
        for message in (tool.invoke(call), await tool.ainvoke(call)):
            assert isinstance(message, ToolMessage)
            assert [one.id for one in message.artifact] == [hit.id for hit in hits]
            assert message.text.startswith(f"Searched by {view}:\n[{hits[0].id}] ")
            assert MESSAGES[hits[1].id] in message.text
    with pytest.raises(ValidationError):
        tool.invoke({"query": "the tent", "view": "need"})


def test_a_model_sees_the_views_as_the_only_choices(messages: ViewCollection) -> None:
    schema: Any = ViewRouter(messages).as_tool().get_input_jsonschema()
    [choices] = [one for one in schema["properties"]["view"]["anyOf"] if "enum" in one]
    assert choices["enum"] == list(QUESTIONS)
    assert schema["required"] == ["query"]

"""Inside LangChain's expression language and LangGraph, with fake chat models."""

from __future__ import annotations

from typing import Any, TypedDict

from conftest import MESSAGES
from inbedder_retrieval import Embedder, ViewCollection
from langchain_core.documents import Document
from langchain_core.example_selectors import (
    MaxMarginalRelevanceExampleSelector,
    SemanticSimilarityExampleSelector,
)
from langchain_core.language_models.fake_chat_models import ParrotFakeChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnableParallel, RunnablePassthrough
from langchain_core.tools import create_retriever_tool
from langgraph.graph import END, START, StateGraph

from langchain_inbedder import (
    InBedderEmbeddings,
    InBedderRetriever,
    InBedderVectorStore,
    ViewRouter,
)

PROMPT = ChatPromptTemplate.from_template("{passages}\n---\n{question}")


def joined(documents: list[Document]) -> str:
    return "\n".join(document.page_content for document in documents)


def chain(retriever: Runnable[str, list[Document]]) -> Runnable[str, str]:
    asked = {"passages": retriever | joined, "question": RunnablePassthrough()}
    return asked | PROMPT | ParrotFakeChatModel() | StrOutputParser()


async def test_a_chain_puts_what_is_found_into_the_prompt(messages: ViewCollection) -> None:
    retriever = InBedderRetriever(collection=messages, view="feeling", k=2)
    expected = joined(retriever.invoke("I am furious")) + "\n---\nI am furious"
    made = chain(retriever)
    assert made.invoke("I am furious") == expected
    assert await made.ainvoke("I am furious") == expected
    assert "".join(made.stream("I am furious")) == expected
    assert await made.abatch(["I am furious"] * 8) == [expected] * 8
    store = InBedderVectorStore(messages, view="feeling")
    assert chain(store.as_retriever(search_kwargs={"k": 2})).invoke("I am furious") == expected


def test_views_are_searched_side_by_side(messages: ViewCollection) -> None:
    sides = RunnableParallel(
        {
            view: InBedderRetriever(collection=messages, view=view, k=1)
            for view in messages.views.names
        }
    )
    found = sides.invoke("I am so angry about my tent")
    assert {view: documents[0].id for view, documents in found.items()} == {
        view: messages.search("I am so angry about my tent", view=view)[0].id
        for view in messages.views.names
    }


async def test_two_views_are_streamed_into_one_prompt(messages: ViewCollection) -> None:
    question = "I am so angry about my tent"
    sides = {
        view: InBedderRetriever(collection=messages, view=view, k=2) | joined
        for view in ("product", "feeling")
    }
    asked = {**sides, "question": RunnablePassthrough()}
    prompt = ChatPromptTemplate.from_template("{product}\n---\n{feeling}\n---\n{question}")
    made = RunnableParallel(asked) | prompt | ParrotFakeChatModel() | StrOutputParser()
    found = {
        view: "\n".join(hit.text for hit in messages.search(question, view=view, limit=2))
        for view in sides
    }
    expected = f"{found['product']}\n---\n{found['feeling']}\n---\n{question}"
    assert "".join(made.stream(question)) == expected
    assert "".join([piece async for piece in made.astream(question)]) == expected
    events = [one["event"] async for one in made.astream_events(question, version="v2")]
    assert events.count("on_retriever_end") == 2


def test_a_router_chooses_the_view_within_a_chain(messages: ViewCollection) -> None:
    router = ViewRouter(messages)
    retriever = InBedderRetriever(collection=messages, k=1)
    routed: Runnable[str, list[Document]] = RunnableLambda(
        lambda question: retriever.invoke(question, view=router.pick(question))
    )
    [found] = routed.invoke("customers who are furious")
    [hit] = messages.search("customers who are furious", view="feeling", limit=1)
    assert found.id == hit.id


def test_example_selectors_take_the_store(embedder: Embedder) -> None:
    examples = [{"input": text, "output": name} for name, text in MESSAGES.items()]
    for selector in (SemanticSimilarityExampleSelector, MaxMarginalRelevanceExampleSelector):
        made: Any = selector.from_examples(
            examples,
            InBedderEmbeddings("How does the customer feel?", embedder=embedder),
            InBedderVectorStore,
            k=1,
            input_keys=["input"],
        )
        assert made.select_examples({"input": "I am scared of a fire"}) == [examples[2]]


def test_a_retriever_is_a_tool(messages: ViewCollection) -> None:
    retriever = InBedderRetriever(collection=messages, view="feeling", k=1)
    tool = create_retriever_tool(retriever, "messages", "Search messages by feeling.")
    assert tool.invoke({"query": "I am scared of a fire"}) == MESSAGES["kettle"]


class State(TypedDict, total=False):
    question: str
    view: str
    documents: list[Document]
    reply: str


async def test_nodes_of_a_graph_route_retrieve_and_reply(messages: ViewCollection) -> None:
    router, retriever = ViewRouter(messages), InBedderRetriever(collection=messages, k=2)

    async def route(state: State) -> State:
        return {"view": await router.apick(state["question"])}

    async def retrieve(state: State) -> State:
        return {"documents": await retriever.ainvoke(state["question"], view=state["view"])}

    async def reply(state: State) -> State:
        given = {"passages": joined(state["documents"]), "question": state["question"]}
        return {"reply": await (PROMPT | ParrotFakeChatModel() | StrOutputParser()).ainvoke(given)}

    graph = StateGraph(State)
    for name, node in (("route", route), ("retrieve", retrieve), ("write", reply)):
        graph.add_node(name, node)
    graph.add_edge(START, "route")
    graph.add_edge("route", "retrieve")
    graph.add_edge("retrieve", "write")
    graph.add_edge("write", END)
    done = await graph.compile().ainvoke({"question": "anything about the tent"})
    assert done["view"] == "product"
    assert {one.id for one in done["documents"]} == {"tent", "bag"}
    assert MESSAGES["tent"] in done["reply"]
    assert done["reply"].endswith("anything about the tent")

"""Nodes of a LangGraph: one picks the view, one retrieves, one replies."""

from typing import TypedDict

from langchain_core.documents import Document
from langchain_core.language_models.fake_chat_models import ParrotFakeChatModel
from langgraph.graph import START, StateGraph

from langchain_inbedder import InBedderRetriever, InBedderVectorStore, ViewRouter

MESSAGES = {
    "tent": "The zip of my tent broke on the first night. Money back!",
    "bag": "Lovely tent! How do I fold it so that it fits its bag?",
    "late": "Where is my kettle? You promised Monday. This is outrageous!",
    "thanks": "Thank you so much, the kettle is perfect. Can I have an invoice?",
}
VIEWS = {"product": "Which product is it about?", "feeling": "How does the customer feel?"}
# Swap the next line, which replies with its prompt, for init_chat_model("...") of `langchain`.
LLM = ParrotFakeChatModel()


class State(TypedDict, total=False):
    """What the nodes hand on."""

    question: str
    view: str
    documents: list[Document]
    reply: str


def main() -> None:
    with InBedderVectorStore.from_texts(MESSAGES.values(), ids=MESSAGES, views=VIEWS) as store:
        router = ViewRouter(store.collection)
        retriever = InBedderRetriever(collection=store.collection, k=2)

        def pick(state: State) -> State:
            return {"view": router.pick(state["question"])}

        def retrieve(state: State) -> State:
            return {"documents": retriever.invoke(state["question"], view=state["view"])}

        def write(state: State) -> State:
            passages = "\n".join(document.page_content for document in state["documents"])
            return {"reply": LLM.invoke(f"{passages}\n{state['question']}?").text}

        graph = StateGraph(State)
        graph.add_sequence([pick, retrieve, write])
        graph.add_edge(START, "pick")
        for question in ("anything about the tent", "customers who are furious"):
            done = graph.compile().invoke({"question": question})
            print(f"by {done['view']}:\n{done['reply']}\n")


if __name__ == "__main__":
    main()

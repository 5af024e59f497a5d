"""An agent that picks the view: a LangGraph loop of a chat model and a search tool."""

from typing import Any

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_inbedder import InBedderVectorStore, ViewRouter
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

MESSAGES = {
    "tent": "The zip of my tent broke on the first night. Money back!",
    "bag": "Lovely tent! How do I fold it so that it fits its bag?",
    "late": "Where is my kettle? You promised Monday. This is outrageous!",
    "thanks": "Thank you so much, the kettle is perfect. Can I have an invoice?",
}
VIEWS = {"product": "Which product is it about?", "feeling": "How does the customer feel?"}


class ScriptedModel(GenericFakeChatModel):
    """Searches for what it was asked, then repeats what the search returned."""

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        def reply(messages: list[BaseMessage]) -> AIMessage:
            last = messages[-1]
            if isinstance(last, ToolMessage):
                return AIMessage(str(last.content))
            call = {"name": tools[0].name, "args": {"query": last.text}, "id": "1"}
            return AIMessage("", tool_calls=[call])

        return RunnableLambda(reply)


# Swap the next line for init_chat_model("...") of `langchain`: it may name the view by itself.
LLM = ScriptedModel(messages=iter([]))


def main() -> None:
    texts = MESSAGES.values()
    with InBedderVectorStore.from_texts(texts, ids=MESSAGES, views=VIEWS) as store:
        # Where the model names no view, the embedder's answer words pick it.
        tools = [ViewRouter(store.collection).as_tool(k=2)]
        ask = LLM.bind_tools(tools)
        graph = StateGraph(MessagesState)
        graph.add_node("model", lambda state: {"messages": [ask.invoke(state["messages"])]})
        graph.add_node("tools", ToolNode(tools))
        graph.add_edge(START, "model")
        graph.add_conditional_edges("model", tools_condition)
        graph.add_edge("tools", "model")
        agent = graph.compile()
        for question in ("anything about the tent", "customers who are furious"):
            messages = agent.invoke({"messages": [HumanMessage(question)]})["messages"]
            print(f"{question}?\n{messages[-1].text}\n")


if __name__ == "__main__":
    main()

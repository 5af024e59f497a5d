"""A chain that looks at two views side by side, and one whose view is said when it is called."""

from langchain_core.documents import Document
from langchain_core.language_models.fake_chat_models import ParrotFakeChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, RunnablePassthrough

from langchain_inbedder import InBedderRetriever, InBedderVectorStore

MESSAGES = {
    "tent": "The zip of my tent broke on the first night. Money back!",
    "bag": "Lovely tent! How do I fold it so that it fits its bag?",
    "kettle": "My kettle leaks. I am afraid it will catch fire.",
    "late": "Where is my kettle? You promised Monday. This is outrageous!",
    "thanks": "Thank you so much, the kettle is perfect. Can I have an invoice?",
}
VIEWS = {"product": "Which product is it about?", "feeling": "How does the customer feel?"}
# Swap the next line, which replies with its prompt, for init_chat_model("...") of `langchain`.
LLM = ParrotFakeChatModel()
PROMPT = ChatPromptTemplate.from_template(
    "About the same product:\n{product}\nIn the same mood:\n{feeling}\nReply to: {message}"
)


def joined(documents: list[Document]) -> str:
    return "\n".join(f"- {document.page_content}" for document in documents)


def main() -> None:
    with InBedderVectorStore.from_texts(MESSAGES.values(), ids=MESSAGES, views=VIEWS) as store:
        sides = {
            view: InBedderRetriever(collection=store.collection, view=view, k=2) | joined
            for view in VIEWS
        }
        chain = {**sides, "message": RunnablePassthrough()} | PROMPT | LLM | StrOutputParser()
        message = "I am so angry about my tent"
        for piece in chain.stream(message):
            print(piece, end="")

        retriever = InBedderRetriever(collection=store.collection, view="product", k=1)
        one = retriever.configurable_fields(view=ConfigurableField(id="view")) | joined
        for view in VIEWS:
            told = one.with_config(configurable={"view": view})
            print(f"\n{view}:", told.invoke(message))


if __name__ == "__main__":
    main()

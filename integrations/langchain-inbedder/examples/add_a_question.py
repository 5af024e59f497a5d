"""Add a question to a live collection: its documents are embedded again, its chains go on."""

from __future__ import annotations

from langchain_core.documents import Document
from langchain_core.runnables import ConfigurableField
from three_questions import MESSAGES, VIEWS

from langchain_inbedder import InBedderRetriever, InBedderVectorStore


def main() -> None:
    with InBedderVectorStore.from_texts(
        MESSAGES.values(), ids=MESSAGES.keys(), views=VIEWS
    ) as store:
        retriever = InBedderRetriever(collection=store.collection, view="product", k=1)
        # The chain is built once; which view it searches is said when it is called.
        chain = retriever.configurable_fields(view=ConfigurableField(id="view")) | ids
        print("product ", chain.invoke("the tent"))

        count = store.collection.add_view({"need": "What does the customer need?"})
        print(f"asked {count} messages a new question")

        need = chain.with_config(configurable={"view": "need"})
        print("need    ", need.invoke("I want my money back"))
        print("product ", chain.invoke("the tent"))


def ids(documents: list[Document]) -> list[str | None]:
    return [document.id for document in documents]


if __name__ == "__main__":
    main()

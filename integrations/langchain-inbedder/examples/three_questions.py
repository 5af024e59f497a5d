"""The same corpus, three questions: one text is near others in as many ways as you ask."""

from __future__ import annotations

from langchain_inbedder import InBedderRetriever, InBedderVectorStore

MESSAGES = {
    "tent": "The zip of my tent broke on the first night. Money back!",
    "bag": "Lovely tent! How do I fold it so that it fits its bag?",
    "kettle": "My kettle leaks. I am afraid it will catch fire.",
    "late": "Where is my kettle? You promised Monday. This is outrageous!",
    "thanks": "Thank you so much, the kettle is perfect. Can I have an invoice?",
}
VIEWS = {
    "general": None,
    "product": "Which product is it about?",
    "feeling": "How does the customer feel?",
}


def main() -> None:
    with InBedderVectorStore.from_texts(
        MESSAGES.values(), ids=MESSAGES.keys(), views=VIEWS
    ) as store:
        query = "I am so angry about my tent"
        for view in VIEWS:
            found = store.for_view(view).similarity_search(query, k=2)
            print(f"{view:8}", [document.id for document in found])

        both = InBedderRetriever(
            collection=store.collection, views={"product": 0.5, "feeling": 0.5}, k=1
        )
        print("both    ", [one.id for one in both.invoke("I am so happy with this kettle!")])


if __name__ == "__main__":
    main()

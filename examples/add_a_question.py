"""Add a question to a live collection: its texts are embedded again while searches go on."""

from threading import Thread

from inbedder_retrieval import Document, ViewCollection

MESSAGES = {
    "tent": "The zip of my tent broke on the first night. Money back!",
    "bag": "Lovely tent! How do I fold it so that it fits its bag?",
    "kettle": "My kettle leaks. I am afraid it will catch fire.",
    "late": "Where is my kettle? You promised Monday. This is outrageous!",
    "thanks": "Thank you so much, the kettle is perfect. Can I have an invoice?",
}


def main() -> None:
    # A folder or a server's address in place of ":memory:" keeps it.
    with ViewCollection.create(":memory:", {"product": "Which product is it about?"}) as collection:
        collection.add(Document(text, id=name) for name, text in MESSAGES.items())

        def nearest(query: str, view: str) -> list[str]:
            return [hit.id for hit in collection.search(query, view=view, limit=2)]

        print("product:", nearest("the tent", "product"))
        questions = {"need": "What does the customer need?"}
        adding = Thread(target=collection.add_view, args=(questions,))
        adding.start()
        while adding.is_alive():
            nearest("the tent", "product")
        adding.join()
        for view in collection.info().views:
            print(f"{view.name} is {view.state}: {view.instruction}")

        # What comes now is embedded under both.
        collection.add([Document("The stove does not light. I would like a refund.", id="stove")])
        print("need:", nearest("I want my money back", "need"))
        print("product:", nearest("the tent", "product"))


if __name__ == "__main__":
    main()

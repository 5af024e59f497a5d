"""The same messages, three questions: what is near depends on what you ask."""

from inbedder_retrieval import Document, ViewCollection

MESSAGES = [
    "The zip of my tent broke on the first night. I want my money back!",
    "Lovely tent! How do I fold it so that it fits its bag again?",
    "My kettle leaks and I am afraid it will catch fire. Please repair it.",
    "Thank you so much, the kettle is perfect. Can I have an invoice?",
    "Where is my kettle? You promised Monday, it is Friday, this is outrageous!",
    "I don't understand: two parcels, one tent. Is there another one coming?",
]
QUESTIONS = {
    "product": "Which product is it about?",
    "feeling": "How does the customer feel?",
    "need": "What does the customer need?",
}
QUERY = "I'm furious about this kettle. Give me a refund!"


def main() -> None:
    with ViewCollection.create(":memory:", QUESTIONS) as collection:
        collection.add(Document(text) for text in MESSAGES)
        print("query:", QUERY)
        for view in collection.views:
            print(f"\n{view.name}: {view.instruction}")
            for hit in collection.search(QUERY, view=view.name, limit=2, explain=3):
                words = ", ".join(answer.word for answer in hit.answers[view.name])
                print(f"  {hit.score:.2f}  {hit.text}\n        {words}")


if __name__ == "__main__":
    main()

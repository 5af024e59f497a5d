"""A query engine that answers from what customers need, whatever they write about."""

from llama_index.core import Document
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.retrievers.inbedder import InBedderRetriever
from llama_index.vector_stores.inbedder import EmbeddedByStore, InBedderVectorStore

MESSAGES = {
    "tent": "The zip of my tent broke on the first night. I want my money back!",
    "bag": "Lovely tent! How do I fold it so that it fits its bag again?",
    "leak": "My kettle leaks and I am afraid it will catch fire. Please repair it.",
    "thanks": "Thank you so much, the kettle is perfect. Can I have an invoice?",
    "late": "Where is my kettle? You promised Monday, it is Friday, this is outrageous!",
}
QUESTIONS = {
    "product": "Which product is it about?",
    "need": "What does the customer need?",
}

# Swap the next line, which replies with its prompt, for any LLM of LlamaIndex's.
LLM = MockLLM()


def main() -> None:
    store = InBedderVectorStore.at(":memory:", QUESTIONS)
    pipeline = IngestionPipeline(
        transformations=[SentenceSplitter(), EmbeddedByStore()], vector_store=store
    )
    pipeline.run(documents=[Document(text=text, id_=name) for name, text in MESSAGES.items()])
    for view in QUESTIONS:
        retriever = InBedderRetriever(store, view=view, similarity_top_k=2)
        engine = RetrieverQueryEngine.from_args(retriever, llm=LLM)
        response = engine.query("I want a refund for my tent")
        print(view, [found.node.ref_doc_id for found in response.source_nodes])
    both = InBedderRetriever(store, views={"product": 0.3, "need": 0.7}, similarity_top_k=2)
    answer = RetrieverQueryEngine.from_args(both, llm=LLM).query("Who wants a refund for a tent?")
    print(answer)


if __name__ == "__main__":
    main()

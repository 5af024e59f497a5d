"""Ingest again and again: a docstore passes over what is known, and removes what is gone."""

from llama_index.core import Document
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.storage.docstore import SimpleDocumentStore

from llama_index.retrievers.inbedder import InBedderRetriever
from llama_index.vector_stores.inbedder import EmbeddedByStore, InBedderVectorStore

PAGES = {
    "repairs.md": "Zips, poles and seams are mended free of charge for two years.",
    "returns.md": "A customer may send anything back within 30 days. We pay the postage.",
    "deliveries.md": "Parcels leave our house on the day of the order.",
}


def main() -> None:
    # A folder in place of ":memory:" keeps it; the docstore has a `persist` of its own.
    store = InBedderVectorStore.at(":memory:", {"subject": "What is it about?", "general": None})
    pipeline = IngestionPipeline(
        transformations=[SentenceSplitter(), EmbeddedByStore()],
        vector_store=store,
        docstore=SimpleDocumentStore(),
        docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE,
    )

    def run(pages: dict[str, str]) -> None:
        nodes = pipeline.run(documents=[Document(text=text, id_=n) for n, text in pages.items()])
        print(f"{len(nodes)} of {len(pages)} pages are new; {len(store.get_nodes())} are stored")

    run(PAGES)
    run(PAGES)
    changed = PAGES | {"returns.md": "A customer may send anything back within 60 days."}
    del changed["deliveries.md"]
    run(changed)
    retriever = InBedderRetriever(store, views={"subject": 0.5, "general": 0.5}, similarity_top_k=1)
    [found] = retriever.retrieve("How long do I have to return it?")
    print(found.node.ref_doc_id, "says:", found.text)


if __name__ == "__main__":
    main()

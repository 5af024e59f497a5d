"""Index pages again and again: LangChain's `index` writes what is new, and removes what is gone."""

from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, index

from langchain_inbedder import InBedderVectorStore

PAGES = {
    "repairs.md": "Zips, poles and seams are mended free of charge for two years.",
    "returns.md": "A customer may send anything back within 30 days. We pay the postage.",
    "deliveries.md": "Parcels leave our house on the day of the order.",
}


def documents(pages: dict[str, str]) -> list[Document]:
    return [Document(text, metadata={"source": name}) for name, text in pages.items()]


def main() -> None:
    # A store in a folder wants records that last, too: SQLRecordManager of langchain-classic.
    records = InMemoryRecordManager(namespace="handbook")
    records.create_schema()
    views = {"subject": "What is it about?", "general": None}
    with InBedderVectorStore.from_documents([], views=views) as store:

        def run(pages: dict[str, str]) -> None:
            done = index(documents(pages), records, store, cleanup="full", key_encoder="sha256")
            print(", ".join(f"{n} {what.removeprefix('num_')}" for what, n in done.items()))

        run(PAGES)
        run(PAGES)
        changed = PAGES | {"returns.md": "A customer may send anything back within 60 days."}
        del changed["deliveries.md"]
        run(changed)
        [found] = store.similarity_search("How long do I have to return it?", k=1)
        print(found.metadata["source"], "says:", found.page_content)


if __name__ == "__main__":
    main()

from __future__ import annotations

import asyncio

import pytest
from llama_index.core import SimpleDirectoryReader, StorageContext, VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import Document, TransformComponent
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore

from inbedder_retrieval.testing import FakeEmbedder
from llama_index.embeddings.inbedder import InBedderEmbedding
from llama_index.vector_stores.inbedder import EmbeddedByStore, InBedderVectorStore

LONG = " ".join(f"Sentence {number} is about tents and kettles." for number in range(30))


def pipeline_of(
    store: InBedderVectorStore, *steps: TransformComponent, strategy: str = "upserts_and_delete"
) -> IngestionPipeline:
    return IngestionPipeline(
        transformations=list(
            steps or (SentenceSplitter(chunk_size=40, chunk_overlap=0), EmbeddedByStore())
        ),
        vector_store=store,
        docstore=SimpleDocumentStore(),
        docstore_strategy=DocstoreStrategy(strategy),
    )


def documents(**texts: str) -> list[Document]:
    return [Document(text=text, id_=name, metadata={"file": name}) for name, text in texts.items()]


def sources(store: InBedderVectorStore) -> dict[str, str]:
    """The texts of the stored nodes, joined by the document they were cut from."""
    found: dict[str, list[str]] = {}
    for node in sorted(store.get_nodes(), key=lambda node: node.get_content()):
        found.setdefault(node.ref_doc_id or node.node_id, []).append(node.get_content())
    return {name: " ".join(parts) for name, parts in found.items()}


@pytest.mark.parametrize("awaited", [False, True])
def test_documents_are_taken_once_changed_and_removed(
    store: InBedderVectorStore, embedder: FakeEmbedder, awaited: bool
) -> None:
    pipeline = pipeline_of(store)

    def ran(**texts: str) -> int:
        before = embedder.texts_seen
        if awaited:
            asyncio.run(pipeline.arun(documents=documents(**texts)))
        else:
            pipeline.run(documents=documents(**texts))
        return embedder.texts_seen - before

    assert ran(a="A tent.", b="A kettle.", c=LONG) > 3
    assert ran(a="A tent.", b="A kettle.", c=LONG) == 0
    assert len(store.get_nodes()) > 4
    assert ran(a="A tent.", b="A bag.", c=LONG) == 1
    assert sources(store)["b"] == "A bag."
    assert ran(a="A tent.") == 0
    assert sources(store) == {"a": "A tent."}


def test_whole_documents_are_changed_and_removed_too(
    store: InBedderVectorStore, embedder: FakeEmbedder
) -> None:
    pipeline = pipeline_of(store, EmbeddedByStore())
    pipeline.run(documents=documents(a="A tent.", b="A kettle."))
    assert embedder.texts_seen == 2
    pipeline.run(documents=documents(a="A tent, red."))
    assert sources(store) == {"a": "A tent, red."}
    assert store.get_nodes() == documents(a="A tent, red.")


def test_nodes_keep_their_neighbours_and_source(store: InBedderVectorStore) -> None:
    nodes = pipeline_of(store).run(documents=documents(c=LONG))
    assert len(nodes) > 3
    for node in nodes:
        node.embedding = None
    assert store.get_nodes([node.node_id for node in nodes]) == nodes
    second = store.get_nodes([nodes[1].node_id])[0]
    assert second.prev_node is not None
    assert second.prev_node.node_id == nodes[0].node_id
    assert second.ref_doc_id == "c"


def test_any_embedding_may_stand_before_the_store(store: InBedderVectorStore) -> None:
    pipeline = pipeline_of(store, SentenceSplitter(), MockEmbedding(embed_dim=3))
    pipeline.run(documents=documents(a="A tent."))
    assert sources(store) == {"a": "A tent."}


def test_an_index_is_built_over_the_store_and_marks_cost_nothing(
    store: InBedderVectorStore, embedder: FakeEmbedder
) -> None:
    index = VectorStoreIndex.from_documents(
        documents(a="A tent.", b="A kettle."),
        storage_context=StorageContext.from_defaults(vector_store=store),
        transformations=[SentenceSplitter(), EmbeddedByStore()],
        embed_model=InBedderEmbedding(embedder=embedder),
    )
    assert embedder.texts_seen == 2
    [found] = index.as_retriever(similarity_top_k=1).retrieve("A kettle.")
    assert found.node.ref_doc_id == "b"
    index.refresh_ref_docs(documents(a="A tent."))
    index.delete_ref_doc("b")
    assert sources(store)["a"] == "A tent."


def test_the_embedding_alone_serves_another_store_with_text_or_with_metadata() -> None:
    """As a transformation it sees the node; as `embed_model` LlamaIndex writes metadata first."""
    model = FakeEmbedder()
    embedding = InBedderEmbedding(embedder=model)
    plain, whole = model.embed(["A tent.", "file: a\n\nA tent."], {"general": None})["general"]
    steps: list[TransformComponent] = [embedding, EmbeddedNothing()]
    for step, wanted in zip(steps, (plain, whole), strict=True):
        other = SimpleVectorStore()
        VectorStoreIndex.from_documents(
            documents(a="A tent."),
            storage_context=StorageContext.from_defaults(vector_store=other),
            transformations=[step],
            embed_model=embedding,
        )
        [stored] = other.data.embedding_dict.values()
        assert stored == pytest.approx(wanted.tolist(), abs=1e-6)


class EmbeddedNothing(TransformComponent):
    def __call__(self, nodes, **kwargs):  # type: ignore[no-untyped-def]
        return nodes


def test_a_pipelines_cache_does_not_take_one_question_for_another() -> None:
    model = FakeEmbedder()
    first = IngestionPipeline(transformations=[InBedderEmbedding("How?", embedder=model)])
    second = IngestionPipeline(
        transformations=[InBedderEmbedding("What?", embedder=model)], cache=first.cache
    )
    [one] = first.run(documents=documents(a="A tent."))
    [other] = second.run(documents=documents(a="A tent."))
    [again] = first.run(documents=documents(a="A tent."))
    assert one.embedding == again.embedding != other.embedding
    assert model.texts_seen == 2


def test_worker_processes_embed_with_a_model_of_their_own() -> None:
    pipeline = IngestionPipeline(transformations=[InBedderEmbedding(threads=1)])
    texts = {"a": "My tent broke.", "b": "Where is my kettle?"}
    nodes = pipeline.run(documents=documents(**texts), num_workers=2)
    wanted = InBedderEmbedding(threads=1)(documents(**texts))
    assert [node.node_id for node in nodes] == ["a", "b"]
    for node, same in zip(nodes, wanted, strict=True):
        assert node.embedding == pytest.approx(same.embedding, abs=0.02)


def test_a_folder_is_read_into_the_store(
    store: InBedderVectorStore, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("texts")
    (folder / "a.txt").write_text("A tent.")
    pipeline_of(store).run(documents=SimpleDirectoryReader(str(folder)).load_data())
    [node] = store.get_nodes()
    assert node.metadata["file_name"] == "a.txt"
    assert node.get_content() == "A tent."

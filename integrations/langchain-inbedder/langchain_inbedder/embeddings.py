"""InBedderEmbeddings: LangChain's Embeddings under one question, for any vector store.

It knows nothing of collections; `InBedderVectorStore` needs none of it to be handed in.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Literal

from inbedder_retrieval import (
    GENERAL,
    Embedder,
    InputError,
    TextEmbedder,
    TextError,
    View,
    ViewError,
)
from langchain_core.embeddings import Embeddings

__all__ = ["InBedderEmbeddings", "text_embedder"]


class InBedderEmbeddings(Embeddings):
    """Embeds texts as their answers to one question.

    The asynchronous calls embed in a worker thread, so an event loop goes on meanwhile.

    Args:
        instruction: the question that is asked of every text, such as "How does the customer
            feel?". None asks nothing: the general view.
        view: what the question is called where it becomes a view of a store.
        model: as `inbedder_retrieval.Embedder` takes it; None takes the packaged model.
        embedder: what embeds, instead of a model that is loaded here.
        queries: what `embed_query` is given: `texts` like the documents', which are asked the
            same question, or `answers` that the documents are to give, such as "a refund".
        on_long: `cut` a text that is longer than the model reads, or raise an `error`.
        backend, device, precision, threads: as `inbedder_retrieval.Embedder` takes them.

    Raises:
        InputError: an embedder is given, and with it what would choose another.
        ViewError: the instruction is no question, or the name can be none.
        CheckpointError: there is no such model.
    """

    def __init__(
        self,
        instruction: str | None = None,
        *,
        view: str | None = None,
        model: str | Path | None = None,
        embedder: TextEmbedder | None = None,
        queries: Literal["texts", "answers"] = "texts",
        on_long: Literal["cut", "error"] = "cut",
        backend: Literal["onnx", "torch"] | None = None,
        device: str | None = None,
        precision: Literal["int8", "float32", "float16", "bfloat16"] | None = None,
        threads: int | None = None,
    ) -> None:
        if queries not in ("texts", "answers"):
            raise InputError(f"queries is {queries!r}; choose 'texts' or 'answers'")
        if on_long not in ("cut", "error"):
            raise InputError(f"on_long is {on_long!r}; choose 'cut' or 'error'")
        chosen = {
            "model": model,
            "backend": backend,
            "device": device,
            "precision": precision,
            "threads": threads,
        }
        given = [name for name, value in chosen.items() if value is not None]
        if embedder is not None and given:
            raise InputError(
                f"an embedder is given, and {', '.join(given)} for another; leave one of them out"
            )
        name = view or (GENERAL.name if instruction is None else "question")
        self.view = View(name, instruction)
        self.queries = queries
        self.on_long = on_long
        self.embedder: TextEmbedder = embedder or _load(
            model, backend=backend, device=device, precision=precision, threads=threads
        )

    def __repr__(self) -> str:
        return (
            f"InBedderEmbeddings({self.view.instruction!r}, view={self.view.name!r}, "
            f"model={self.embedder.name!r})"
        )

    @property
    def instruction(self) -> str | None:
        """The question that is asked of every text."""
        return self.view.instruction

    @property
    def dimension(self) -> int:
        """H, the width of a vector."""
        return self.embedder.dimension

    @property
    def namespace(self) -> str:
        """Text that differs between models and between questions: a cache's namespace.

        LangChain's `CacheBackedEmbeddings` keys by the text alone within a namespace, so two
        questions under one namespace would get each other's vectors.
        """
        key = f"{self.embedder.fingerprint}\n{self.instruction}\n{self.queries}\n{self.on_long}"
        return f"inbedder-{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}"

    def for_view(self, view: View | str) -> InBedderEmbeddings:
        """Return embeddings under another question, by the same model, which is not loaded anew.

        Args:
            view: a View, the question itself, or `general`.

        Raises:
            ViewError: a bare name, such as `need`, whose question nobody here knows.
        """
        if view == GENERAL.name:
            view = GENERAL
        if isinstance(view, str):
            if view.isidentifier():
                raise ViewError(
                    f"{view!r} is a view's name, and these embeddings know no questions by name; "
                    f"give the question, as text or as View({view!r}, 'What ...?')"
                )
            view = View("question", view)
        return InBedderEmbeddings(
            view.instruction,
            view=view.name,
            embedder=self.embedder,
            queries=self.queries,
            on_long=self.on_long,
        )

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts as N unit vectors of H numbers.

        Raises:
            TextError: a text is no string, holds a lone surrogate, or is too long with
                `on_long="error"`.
        """
        found = self.embedder.embed(texts, self.view)
        if found.truncated and self.on_long == "error":
            index = found.truncated[0]
            raise TextError(
                f"text {index} is longer than {self.embedder.name} reads (it begins "
                f"{texts[index][:40]!r}); split it, or use on_long='cut'"
            )
        vectors: list[list[float]] = found[self.view.name].tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Embed a query as a unit vector of H numbers.

        Raises:
            TextError: the text is unusable; an answer must say something.
        """
        if self.queries == "texts":
            return self.embed_documents([text])[0]
        found = self.embedder.embed_answers([text], self.view)
        vector: list[float] = found[self.view.name][0].tolist()
        return vector

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """As `embed_documents`, in a worker thread."""
        return await asyncio.to_thread(self.embed_documents, texts)

    async def aembed_query(self, text: str) -> list[float]:
        """As `embed_query`, in a worker thread."""
        return await asyncio.to_thread(self.embed_query, text)


def text_embedder(embedding: object) -> TextEmbedder | None:
    """Return what embeds for a collection: of InBedderEmbeddings, an Embedder, or None for None.

    Raises:
        InputError: other embeddings, which cannot be asked questions.
    """
    if embedding is None:
        return None
    if isinstance(embedding, InBedderEmbeddings):
        return embedding.embedder
    if isinstance(embedding, Embedder) or (
        not isinstance(embedding, Embeddings) and hasattr(embedding, "embed_answers")
    ):
        # Whatever else has the methods of a TextEmbedder, such as testing.FakeEmbedder.
        found: TextEmbedder = embedding  # type: ignore[assignment]
        return found
    raise InputError(
        f"the embedding is {type(embedding).__name__}, which cannot be asked a view's question; "
        "give InBedderEmbeddings, an inbedder_retrieval.Embedder, or None for the packaged model"
    )


def _load(
    model: str | Path | None,
    *,
    backend: Literal["onnx", "torch"] | None,
    device: str | None,
    precision: Literal["int8", "float32", "float16", "bfloat16"] | None,
    threads: int | None,
) -> Embedder:
    device = device or "cpu"
    if model is None:
        return Embedder(backend=backend, device=device, precision=precision, threads=threads)
    return Embedder(model, backend=backend, device=device, precision=precision, threads=threads)

"""InBedderEmbedding: LlamaIndex's embedding of texts under one question.

The question is fixed, so vectors of two embeddings with different questions cannot be compared.
The model is loaded when it is first needed, and is never part of what is serialised.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.schema import BaseNode, MetadataMode
from llama_index.core.storage.kvstore.types import BaseKVStore

from inbedder_retrieval import GENERAL, Embedder, ModelMismatch, TextEmbedder, View
from llama_index.embeddings.inbedder.cache import ScopedCache

__all__ = ["InBedderEmbedding"]

DEFAULT_MODEL = "inbedder-minilm"
# What is embedded now: LlamaIndex's cache is asked for a text without being told.
_KIND: ContextVar[str] = ContextVar("inbedder_kind", default="text")


class InBedderEmbedding(BaseEmbedding):
    """Embeds texts by what they answer to a question, for any of LlamaIndex's vector stores.

    An `embeddings_cache` may be shared with other embeddings: entries are kept apart by model,
    question, and whether they are of a query or a text.

    Args:
        instruction: the question, such as "How does the customer feel?"; None takes the text's
            general meaning.
        model_name: as `inbedder_retrieval.Embedder` takes it.
        embedder: a model that is loaded already, in place of one by name.
        queries: what a query is: a `text` like the others, or the `answer` that is looked for,
            such as "a refund".
        metadata_mode: what is embedded of a node: its text alone, or with its metadata before it.
        fingerprint: the model's, to be held to; None takes what is there. A given embedder brings
            its own.
        backend, device, precision, threads: as `Embedder` takes them.
        embed_batch_size: how many texts are handed to the model at once, up to 2048.
        callback_manager, num_workers, embeddings_cache, rate_limiter: as LlamaIndex has them.

    Raises:
        ViewError: the question is unusable.
        CheckpointError, ModelMismatch: when a text is first embedded: there is no such model, or
            it has another fingerprint.
    """

    model_name: str = Field(default=DEFAULT_MODEL, description="The model's name or folder.")
    embed_batch_size: int = Field(default=512, gt=0, le=2048, description="Texts in one call.")
    embeddings_cache: Any | None = Field(
        default=None, exclude=True, description="A cache; entries are kept apart by question."
    )
    instruction: str | None = Field(default=None, description="The question asked of every text.")
    queries: Literal["text", "answer"] = Field(default="text", description="What a query is.")
    metadata_mode: MetadataMode = Field(
        default=MetadataMode.NONE, description="What is embedded of a node beside its text."
    )
    fingerprint: str | None = Field(default=None, description="The fingerprint the model has.")
    backend: Literal["onnx", "torch"] | None = Field(default=None, description="What runs it.")
    device: str = Field(default="cpu", description="What it runs on.")
    precision: Literal["int8", "float32", "float16", "bfloat16"] | None = Field(
        default=None, description="What its layers run in."
    )
    threads: int | None = Field(default=None, description="CPU threads.")

    _embedder: TextEmbedder | None = PrivateAttr(default=None)
    _one_at_a_time: Any = PrivateAttr(default_factory=threading.Lock)

    def __init__(
        self,
        instruction: str | None = None,
        *,
        model_name: str = DEFAULT_MODEL,
        embedder: TextEmbedder | None = None,
        queries: Literal["text", "answer"] = "text",
        metadata_mode: MetadataMode = MetadataMode.NONE,
        fingerprint: str | None = None,
        backend: Literal["onnx", "torch"] | None = None,
        device: str = "cpu",
        precision: Literal["int8", "float32", "float16", "bfloat16"] | None = None,
        threads: int | None = None,
        embed_batch_size: int = 512,
        callback_manager: CallbackManager | None = None,
        num_workers: int | None = None,
        embeddings_cache: BaseKVStore | None = None,
        rate_limiter: Any = None,
    ) -> None:
        # The base class's signature does not know the fields of this one.
        fields: dict[str, Any] = {
            "instruction": instruction,
            "model_name": model_name if embedder is None else embedder.name,
            "queries": queries,
            "metadata_mode": metadata_mode,
            "fingerprint": fingerprint,
            "backend": backend,
            "device": device,
            "precision": precision,
            "threads": threads,
            "embed_batch_size": embed_batch_size,
            "callback_manager": callback_manager or CallbackManager([]),
            "num_workers": num_workers,
            "embeddings_cache": embeddings_cache,
            "rate_limiter": rate_limiter,
        }
        super().__init__(**fields)
        # Scoped now that there is something to ask for the scope.
        self.embeddings_cache = embeddings_cache
        _ = self.view
        if embedder is not None:
            self._use(embedder)
            self.fingerprint = embedder.fingerprint

    @classmethod
    def class_name(cls) -> str:
        """The name by which LlamaIndex tells components apart."""
        return "InBedderEmbedding"

    @property
    def view(self) -> View:
        """The question as a view."""
        return GENERAL if self.instruction is None else View("asked", self.instruction)

    @property
    def embedder(self) -> TextEmbedder:
        """The model, loaded now if it was not before."""
        with self._one_at_a_time:
            return self._loaded()

    def to_payload(self) -> dict[str, Any]:
        """What LlamaIndex's events say of this embedding."""
        return super().to_payload() | {"instruction": self.instruction, "queries": self.queries}

    def get_query_embedding(self, query: str) -> list[float]:
        """Embed a query."""
        with _asking():
            return super().get_query_embedding(query)

    async def aget_query_embedding(self, query: str) -> list[float]:
        """Embed a query; the model runs in a worker thread."""
        with _asking():
            return await super().aget_query_embedding(query)

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Embed nodes, as a step of an ingestion pipeline."""
        vectors = self.get_text_embedding_batch(self._contents(nodes), **kwargs)
        return _filled(nodes, vectors)

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Embed nodes; the model runs in a worker thread."""
        vectors = await self.aget_text_embedding_batch(self._contents(nodes), **kwargs)
        return _filled(nodes, vectors)

    def _contents(self, nodes: Sequence[BaseNode]) -> list[str]:
        return [node.get_content(metadata_mode=self.metadata_mode) for node in nodes]

    def _get_query_embedding(self, query: str) -> list[float]:
        if self.queries == "text":
            return self._get_text_embedding(query)
        with self._one_at_a_time:
            found = self._loaded().embed_answers([query], self.view)
        vector: list[float] = found[self.view.name][0].tolist()
        return vector

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        # The model uses all cores by itself: two calls at once would only be in each other's way.
        with self._one_at_a_time:
            found = self._loaded().embed(texts, self.view)
        vectors: list[list[float]] = found[self.view.name].tolist()
        return vectors

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)

    def _loaded(self) -> TextEmbedder:
        if self._embedder is None:
            embedder = Embedder(
                self.model_name,
                backend=self.backend,
                device=self.device,
                precision=self.precision,
                threads=self.threads,
            )
            self._use(embedder)
            return embedder
        return self._embedder

    def _use(self, embedder: TextEmbedder) -> None:
        if self.fingerprint not in (None, embedder.fingerprint):
            raise ModelMismatch(
                f"{embedder.name} has the fingerprint {embedder.fingerprint}, and the embedding "
                f"was made with {self.fingerprint}; their vectors cannot be compared. Give the "
                "model it was made with, or make a new embedding"
            )
        self._embedder = embedder

    def _scope(self) -> str:
        asked = [self.embedder.fingerprint, self.instruction, self.queries, _KIND.get()]
        return hashlib.blake2b(json.dumps(asked).encode(), digest_size=8).hexdigest()

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "embeddings_cache" and isinstance(value, BaseKVStore):
            value = ScopedCache(_unscoped(value), self._scope)
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        # Without the model: whoever unpickles it loads it by name.
        bare = self.model_copy(update={"embeddings_cache": _unscoped(self.embeddings_cache)})
        bare.__pydantic_private__ = {}
        state: dict[str, Any] = BaseEmbedding.__getstate__(bare)
        return state


def _filled(nodes: Sequence[BaseNode], vectors: list[list[float]]) -> Sequence[BaseNode]:
    for node, vector in zip(nodes, vectors, strict=True):
        node.embedding = vector
    return nodes


def _unscoped(store: Any) -> Any:
    return store.store if isinstance(store, ScopedCache) else store


@contextmanager
def _asking() -> Iterator[None]:
    """Within, what is embedded is a query."""
    token = _KIND.set("query")
    try:
        yield
    finally:
        _KIND.reset(token)

"""InBedderVectorStore: LlamaIndex's vector store over a collection with one vector per question.

The collection embeds: nodes under every view, queries under the views that are searched. A node's
own embedding is not stored. How nodes are kept is in `nodes.py`, what filters mean in `filters.py`,
what a query asks for in `queries.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.schema import BaseNode, MetadataMode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)

from inbedder_retrieval import (
    Connection,
    Document,
    Hit,
    InputError,
    Storage,
    TextEmbedder,
    UnknownView,
    View,
    ViewCollection,
    Views,
    Where,
)
from llama_index.vector_stores.inbedder.filters import (
    from_source,
    holding,
    texts_in_any_case,
    where_exists,
    where_of,
)
from llama_index.vector_stores.inbedder.nodes import document_of, node_of
from llama_index.vector_stores.inbedder.queries import search_arguments

__all__ = ["InBedderVectorStore"]


class InBedderVectorStore(BasePydanticVectorStore):
    """A vector store whose nodes have one vector per question (view).

    A query searches the view that the store is bound to. In the mode `hybrid` it searches several
    views, whose cosines are summed with weights; in the mode `mmr` hits are chosen to be unlike
    each other (`mmr_threshold` 1 is relevance alone, 0 difference alone, as LlamaIndex has it).

    LlamaIndex's query text is embedded by the collection. A query embedding is taken where there is
    no text, or with `is_embedding_query`.

    Args:
        collection: where nodes are kept.
        view: the view to search; None takes the collection's first.
        views: the weights of the views that a hybrid search sums; None takes all, alike.
        metadata_mode: what is embedded of a node: its text alone, or with its metadata before it.
        is_embedding_query: have LlamaIndex embed queries, with the index's embedding; it must then
            ask the same question of the same model.

    Raises:
        UnknownView: the collection has no such view.
    """

    stores_text: bool = True
    is_embedding_query: bool = False
    view: str = Field(description="The view that is searched.")
    views: dict[str, float] | None = Field(
        default=None, description="The weights of the views that a hybrid search sums."
    )
    metadata_mode: MetadataMode = Field(
        default=MetadataMode.NONE, description="What is embedded of a node beside its text."
    )

    _collection: ViewCollection = PrivateAttr()

    def __init__(
        self,
        collection: ViewCollection,
        *,
        view: str | None = None,
        views: Mapping[str, float] | None = None,
        metadata_mode: MetadataMode = MetadataMode.NONE,
        is_embedding_query: bool = False,
    ) -> None:
        names = collection.views.names
        for name in [*([] if view is None else [view]), *(views or {})]:
            if name not in names:
                raise UnknownView(
                    f"there is no view {name!r} here; the collection has {', '.join(names)}"
                )
        # The base class's signature does not know the fields of this one.
        fields: dict[str, Any] = {
            "is_embedding_query": is_embedding_query,
            "view": names[0] if view is None else view,
            "views": None if views is None else dict(views),
            "metadata_mode": metadata_mode,
        }
        super().__init__(stores_text=True, **fields)
        self._collection = collection

    @classmethod
    def at(
        cls,
        location: str | Path,
        views: Views | View | Mapping[str, str | None] | None = None,
        embedder: TextEmbedder | None = None,
        *,
        view: str | None = None,
        storage: Storage | None = None,
        connection: Connection | None = None,
    ) -> InBedderVectorStore:
        """Open the collection at a location, or create it where there is none.

        Args:
            location: a folder, `:memory:` or a Qdrant server's `http://host:6333/name`.
            views: the questions, by name; None where the collection is there already.

        Raises:
            As `ViewCollection.open_or_create`.
        """
        if str(location) == ":memory:" and views is not None:
            collection = ViewCollection.create(location, views, embedder)
        else:
            collection = ViewCollection.open_or_create(
                location, views, embedder, storage=storage, connection=connection
            )
        try:
            return cls(collection, view=view)
        except BaseException:
            collection.close()
            raise

    @classmethod
    def class_name(cls) -> str:
        """The name by which LlamaIndex tells components apart."""
        return "InBedderVectorStore"

    @property
    def client(self) -> ViewCollection:
        """The collection."""
        return self._collection

    def for_view(self, view: str) -> InBedderVectorStore:
        """Return a store over the same collection that searches another view."""
        return InBedderVectorStore(
            self._collection,
            view=view,
            views=self.views,
            metadata_mode=self.metadata_mode,
            is_embedding_query=self.is_embedding_query,
        )

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Store nodes under every view, and return their ids.

        A node that is stored with the same text is not embedded again.

        Raises:
            DocumentError: a node's id or metadata cannot be stored; nothing of this call is.
        """
        documents = self._documents(nodes)
        self._collection.add(documents)
        return [document.id for document in documents]

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """As `add`."""
        documents = self._documents(nodes)
        await self._collection.aadd(documents)
        return [document.id for document in documents]

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete the nodes that were cut from a document, and the document where it is a node.

        Raises:
            InputError: no id is given.
        """
        self._collection.delete(filter=from_source([_given(ref_doc_id)]))

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """As `delete`."""
        await self._collection.adelete(filter=from_source([_given(ref_doc_id)]))

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """Delete nodes by id, or those that fit filters, or with both those that fit both.

        Raises:
            InputError: neither is given, or the filters hold no filter.
        """
        where = self._where(filters)
        if _deletes(node_ids, filters, where):
            self._collection.delete(filter=_both(where, node_ids))

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """As `delete_nodes`."""
        where = await self._awhere(filters)
        if _deletes(node_ids, filters, where):
            await self._collection.adelete(filter=_both(where, node_ids))

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Return nodes by id, in that order; those that fit filters; those that fit both; or all.

        Ids that are not stored are left out.
        """
        where = self._where(filters)
        if node_ids is not None and where is None:
            return _nodes(self._collection.get(node_ids))
        if node_ids == []:
            return []
        return _in_order(self._scrolled(_both(where, node_ids)), node_ids)

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """As `get_nodes`."""
        where = await self._awhere(filters)
        if node_ids is not None and where is None:
            return _nodes(await self._collection.aget(node_ids))
        if node_ids == []:
            return []
        return _in_order(await self._ascrolled(_both(where, node_ids)), node_ids)

    def clear(self) -> None:
        """Delete every node; the collection and its views stay."""
        self._collection.clear()

    async def aclear(self) -> None:
        """As `clear`."""
        await self._collection.aclear()

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Return the nodes that fit a query best, best first, with their scores.

        Args:
            query: `query_str` or `query_embedding`, and what LlamaIndex has beside them.
                `embedding_field` names another view than the store's.
            **kwargs: options of `ViewCollection.search`: `answer`, `vector`, `like`, `unlike`,
                `view`, `views`, `fusion`, `filter` (in the collection's own words), `threshold`,
                `candidates`, `exact`, `allow_partial`; and `mmr_threshold`.

        Raises:
            InputError: there is no such mode or option, or nothing to look for.
        """
        asked = self._asked(query, kwargs, self._where(query.filters))
        return _result(self._collection.search(**asked))

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """As `query`."""
        asked = self._asked(query, kwargs, await self._awhere(query.filters))
        return _result(await self._collection.asearch(**asked))

    def _documents(self, nodes: Sequence[BaseNode]) -> list[Document]:
        return [document_of(node, self.metadata_mode) for node in nodes]

    def _asked(
        self, query: VectorStoreQuery, options: Mapping[str, Any], where: Where | None
    ) -> dict[str, Any]:
        weights = self.views or dict.fromkeys(self._collection.views.names, 1.0)
        return search_arguments(
            query,
            options,
            where,
            view=self.view,
            weights=weights,
            by_embedding=self.is_embedding_query,
        )

    def _where(self, filters: MetadataFilters | None) -> Where | None:
        if filters is None:
            return None
        texts: dict[tuple[str, str], list[str]] = {}
        for key, text in texts_in_any_case(filters):
            texts[key, text] = holding(self._scrolled(where_exists(key)), key, text)
        return where_of(filters, texts)

    async def _awhere(self, filters: MetadataFilters | None) -> Where | None:
        if filters is None:
            return None
        texts: dict[tuple[str, str], list[str]] = {}
        for key, text in texts_in_any_case(filters):
            texts[key, text] = holding(await self._ascrolled(where_exists(key)), key, text)
        return where_of(filters, texts)

    def _scrolled(self, where: Where | None) -> list[Document]:
        documents, after = self._collection.scroll(filter=where)
        while after is not None:
            page, after = self._collection.scroll(filter=where, after=after)
            documents += page
        return documents

    async def _ascrolled(self, where: Where | None) -> list[Document]:
        documents, after = await self._collection.ascroll(filter=where)
        while after is not None:
            page, after = await self._collection.ascroll(filter=where, after=after)
            documents += page
        return documents


def _both(where: Where | None, ids: list[str] | None) -> Where | None:
    if ids is None:
        return where
    named = Where.ids(ids)
    return named if where is None else named & where


def _deletes(ids: list[str] | None, filters: MetadataFilters | None, where: Where | None) -> bool:
    """Whether there is something to delete; raise InputError where it is not said what."""
    if (ids is None and where is None) or (filters is not None and where is None):
        raise InputError(
            "name the nodes to delete, by node_ids or by filters that hold a filter; clear() "
            "deletes all"
        )
    return ids is None or bool(ids)


def _given(ref_doc_id: str) -> str:
    if not isinstance(ref_doc_id, str) or not ref_doc_id:
        raise InputError(f"the ref_doc_id is {ref_doc_id!r}; give the id of a document")
    return ref_doc_id


def _nodes(documents: Sequence[Document]) -> list[BaseNode]:
    return [node_of(one) for one in documents]


def _in_order(documents: Sequence[Document], ids: list[str] | None) -> list[BaseNode]:
    nodes = _nodes(documents)
    if ids is None:
        return nodes
    by_id = {node.node_id: node for node in nodes}
    return [by_id[one] for one in ids if one in by_id]


def _result(hits: Sequence[Hit]) -> VectorStoreQueryResult:
    return VectorStoreQueryResult(
        nodes=[node_of(hit) for hit in hits],
        similarities=[hit.score for hit in hits],
        ids=[hit.id for hit in hits],
    )

"""The calls of a collection for asyncio: each does what its namesake without `a` does.

On a server they are asyncio all the way down, over qdrant-client's own asynchronous client, and
models run in a worker thread. Elsewhere the whole call runs in a worker thread; the engine's lock
keeps writers apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inbedder_retrieval.collection.asked import Fusion, Search
from inbedder_retrieval.collection.contents import (
    clear_documents,
    delete_documents,
    describe,
    get_documents,
    scroll_documents,
    vectors_of,
)
from inbedder_retrieval.collection.filters import WhereLike, parse_where
from inbedder_retrieval.collection.flow import run
from inbedder_retrieval.collection.index import IndexReport, add_documents
from inbedder_retrieval.collection.lifecycle import (
    add_views,
    drop_view,
    rebuild_views,
    rename_view,
)
from inbedder_retrieval.collection.registry import CollectionInfo
from inbedder_retrieval.collection.repair import Findings, examine, repair
from inbedder_retrieval.collection.search import search
from inbedder_retrieval.collection.store import Store
from inbedder_retrieval.documents import Document, Hit
from inbedder_retrieval.embeddings import OnLong, TextEmbedder
from inbedder_retrieval.views import Views, ViewsLike

__all__ = ["AwaitedCalls"]

Result = TypeVar("Result")
Flow = Callable[[Store], Coroutine[Any, Any, Result]]


class AwaitedCalls:
    """What `ViewCollection` offers to an event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._closed = False
        # Connections belong to the event loop they were made in.
        self._awaiting: tuple[asyncio.AbstractEventLoop, Store] | None = None

    async def aadd(
        self,
        documents: Iterable[Document],
        *,
        on_long: OnLong = "cut",
        progress: Callable[[int], None] | None = None,
    ) -> IndexReport:
        """As `add`."""
        return await self._await(
            lambda store: add_documents(store, documents, on_long=on_long, progress=progress)
        )

    async def aadd_view(
        self, views: ViewsLike, *, progress: Callable[[int, int], None] | None = None
    ) -> int:
        """As `add_view`."""
        return await self._await(lambda store: add_views(store, Views.of(views), progress=progress))

    async def arebuild_view(
        self,
        views: ViewsLike | None = None,
        *,
        embedder: TextEmbedder | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """As `rebuild_view`."""
        asked = None if views is None else Views.of(views)
        return await self._await(
            lambda store: rebuild_views(store, asked, embedder, progress=progress)
        )

    async def arename_view(self, name: str, to: str) -> None:
        """As `rename_view`."""
        await self._await(lambda store: rename_view(store, name, to))

    async def adrop_view(self, name: str) -> None:
        """As `drop_view`."""
        await self._await(lambda store: drop_view(store, name))

    async def aget(self, ids: Iterable[object]) -> list[Document]:
        """As `get`."""
        return await self._await(lambda store: get_documents(store, ids))

    async def adelete(
        self, ids: Iterable[object] | None = None, *, filter: WhereLike | None = None
    ) -> int:
        """As `delete`."""
        where = None if filter is None else parse_where(filter)
        return await self._await(lambda store: delete_documents(store, ids, where))

    async def ascroll(
        self, *, filter: WhereLike | None = None, limit: int = 1_000, after: str | None = None
    ) -> tuple[list[Document], str | None]:
        """As `scroll`."""
        where = None if filter is None else parse_where(filter)
        return await self._await(lambda store: scroll_documents(store, where, limit, after))

    async def avectors(self, ids: Iterable[object], view: str) -> dict[str, NDArray[np.float32]]:
        """As `vectors`."""
        return await self._await(lambda store: vectors_of(store, ids, view))

    async def aclear(self) -> int:
        """As `clear`."""
        return await self._await(clear_documents)

    async def acount(self, filter: WhereLike | None = None) -> int:
        """As `count`."""
        where = None if filter is None else parse_where(filter)
        return await self._await(lambda store: store.engine.count(where))

    async def asearch(
        self,
        query: str | None = None,
        *,
        answer: str | Mapping[str, str] | None = None,
        vector: ArrayLike | Mapping[str, ArrayLike] | None = None,
        like: Iterable[object] = (),
        unlike: Iterable[object] = (),
        view: str | None = None,
        views: Mapping[str, float] | None = None,
        fusion: Fusion = "sum",
        limit: int = 10,
        offset: int = 0,
        filter: WhereLike | None = None,
        threshold: float | None = None,
        diversity: float | None = None,
        group_by: str | None = None,
        group_size: int = 1,
        candidates: int | None = None,
        exact: bool = False,
        explain: int | bool = 0,
        allow_partial: bool = False,
    ) -> list[Hit]:
        """As `search`."""
        asked = Search(
            query=query,
            answer=answer,
            vector=vector,
            like=like,
            unlike=unlike,
            view=view,
            views=views,
            fusion=fusion,
            limit=limit,
            offset=offset,
            filter=filter,
            threshold=threshold,
            diversity=diversity,
            group_by=group_by,
            group_size=group_size,
            candidates=candidates,
            exact=exact,
            explain=explain,
            allow_partial=allow_partial,
        )
        return await self._await(lambda store: search(store, asked))

    async def aoptimize(self, *, progress: Callable[[float], None] | None = None) -> None:
        """As `optimize`."""
        await self._await(lambda store: store.engine.optimize(progress))

    async def aalias(self, name: str) -> None:
        """As `alias`."""
        await self._await(lambda store: store.engine.set_alias(name))

    async def asnapshot(self) -> str:
        """As `snapshot`."""
        return await self._await(lambda store: store.engine.snapshot())

    async def acheck(self) -> Findings:
        """As `check`."""
        return await self._await(examine)

    async def arepair(self, findings: Findings, *, delete: bool = False) -> Findings:
        """As `repair`."""
        return await self._await(lambda store: repair(store, findings, delete=delete))

    async def ainfo(self) -> CollectionInfo:
        """As `info`."""
        return await self._await(describe)

    async def _await(self, flow: Flow[Result]) -> Result:
        loop = asyncio.get_running_loop()
        if self._awaiting is None or self._awaiting[0] is not loop:
            engine = self._store.engine.awaiting()
            if engine is None:
                return await asyncio.to_thread(lambda: run(flow(self._store)))
            self._awaiting = (loop, replace(self._store, engine=engine, threaded=True))
        return await flow(self._awaiting[1])

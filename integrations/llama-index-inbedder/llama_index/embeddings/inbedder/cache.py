"""A key-value store seen through a scope: entries of one scope are not found in another.

LlamaIndex keys its embedding cache by the text alone. Two embeddings that share a cache would get
each other's vectors, though they ask other questions; and a query would get a text's vector.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from llama_index.core.storage.kvstore.types import DEFAULT_COLLECTION, BaseKVStore

__all__ = ["ScopedCache"]


class ScopedCache(BaseKVStore):
    """Another store, with the scope that holds at the moment of a call in every collection's name.

    Args:
        store: what keeps the entries.
        scope: says which scope holds now.
    """

    def __init__(self, store: BaseKVStore, scope: Callable[[], str]) -> None:
        self.store = store
        self._scope = scope

    def put(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        self.store.put(key, val, collection=self._named(collection))

    async def aput(
        self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION
    ) -> None:
        await self.store.aput(key, val, collection=await self._awaited(collection))

    def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        return self.store.get(key, collection=self._named(collection))

    async def aget(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        return await self.store.aget(key, collection=await self._awaited(collection))

    def get_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        return self.store.get_all(collection=self._named(collection))

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        return await self.store.aget_all(collection=await self._awaited(collection))

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        return self.store.delete(key, collection=self._named(collection))

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        return await self.store.adelete(key, collection=await self._awaited(collection))

    def _named(self, collection: str) -> str:
        return f"{collection}-{self._scope()}"

    async def _awaited(self, collection: str) -> str:
        # The scope may have to load a model to know its fingerprint.
        return await asyncio.to_thread(self._named, collection)

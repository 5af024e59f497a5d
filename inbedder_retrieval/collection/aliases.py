"""Aliases: other names on a server that stand for a collection."""

from __future__ import annotations

from typing import Any

from qdrant_client import models

from inbedder_retrieval.collection.line import Line

__all__ = ["real_name", "set_alias"]


async def real_name(line: Line, name: str) -> str:
    """Return the name of the collection that a name stands for; its own where it is no alias."""
    for alias in (await line.ask("read the aliases", "get_aliases")).aliases:
        if alias.alias_name == name:
            return str(alias.collection_name)
    return name


async def set_alias(line: Line, collection: str, name: str) -> None:
    """Let a name stand for a collection, and for no other any more."""
    collection = await real_name(line, collection)
    moves: list[Any] = []
    if await real_name(line, name) != name:
        moves = [models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=name))]
    # In one request, so that nobody finds the name without a collection.
    alias = models.CreateAlias(collection_name=collection, alias_name=name)
    moves.append(models.CreateAliasOperation(create_alias=alias))
    await line.ask(f"give it the alias {name!r}", "update_collection_aliases", moves)

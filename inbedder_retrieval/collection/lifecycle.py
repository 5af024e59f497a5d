"""The life of a view on a live collection: it is added, renamed, rebuilt, dropped.

What is lasting is written in an order that leaves a process free to die at any moment:

    add      make the vector; list the view as building; fill it; list it as ready
    rebuild  the same beside the old one; then, in one write, the new one takes its place
    drop     list it as dropped; delete its vectors; forget it

The same call, also by another process, goes on with what was begun. Documents that are added
meanwhile get every vector that is listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from inbedder_retrieval.collection.backfill import fill
from inbedder_retrieval.collection.registry import Registry
from inbedder_retrieval.collection.store import Store
from inbedder_retrieval.embeddings import TextEmbedder
from inbedder_retrieval.errors import ModelMismatch, ViewError
from inbedder_retrieval.views import View, Views

__all__ = ["add_views", "check_questions", "drop_view", "rebuild_views", "rename_view", "sweep"]

Progress = Callable[[int, int], None]


async def add_views(store: Store, views: Views, *, progress: Progress | None = None) -> int:
    """Ask further questions of all documents, and return how many were embedded.

    One pass over the texts fills all views that are being built.

    Raises:
        ViewError: a view of this name asks something else here.
    """
    registry = await store.refresh()
    check_questions(registry, views, store.location)
    embedder = store.embedder()
    embedder.embed([], views)  # A question the model cannot take is found before anything is.
    await _begin(store, registry.with_views(views, embedder))
    building = [one for one in store.registry.records.values() if one.state == "building"]
    filled = await fill(store, building, progress=progress) if building else 0
    # Others may have changed other views meanwhile; one that was dropped is not to come back.
    registry = await store.refresh()
    done = [one.name for one in building if registry.records.get(one.name) == one]
    await store.change(registry.ready(done))
    return filled


async def rebuild_views(
    store: Store,
    views: Views,
    embedder: TextEmbedder | None = None,
    *,
    progress: Progress | None = None,
) -> int:
    """Embed all documents anew for these views, and return how many were embedded.

    Searches find the old vectors until the new ones are there; then all views change at once.

    Args:
        views: names of views that there are, with the question each is to ask.
        embedder: another model, for all views; None keeps the one there is.

    Raises:
        UnknownView: there is no view of one of these names.
        ModelMismatch: another model is given for some views only.
    """
    registry = await store.refresh()
    for view in views:
        registry.record(view.name)
    embedder = embedder or store.embedder()
    written_by = {one.fingerprint for one in registry.records.values()}
    if written_by != {embedder.fingerprint} and set(views.names) != set(registry.records):
        raise ModelMismatch(
            f"{embedder.name} is not the model of {store.location}, and the views of a collection "
            "are of one model; rebuild all of them at once"
        )
    embedder.embed([], views)
    store.known.embedders[embedder.fingerprint] = embedder
    await _begin(store, registry.with_successors(views, embedder))
    coming = list(store.registry.successors.values())
    filled = await fill(store, coming, progress=progress)
    registry = await store.refresh()
    await store.change(registry.switched())
    # Somebody who had not heard of them may have written without them just before the switch.
    filled += await fill(store, coming)
    await sweep(store)
    return filled


async def drop_view(store: Store, name: str) -> None:
    """Forget a view and delete its vectors.

    Raises:
        UnknownView: there is none of this name.
        ViewError: it is the only one.
    """
    registry = await store.refresh()
    await store.change(registry.without(name))
    await sweep(store)


async def rename_view(store: Store, name: str, to: str) -> None:
    """Call a view by another name; nothing is embedded.

    Raises:
        UnknownView: there is none of this name.
        ViewError: there is one of the new name, or it can be none.
    """
    registry = await store.refresh()
    await store.change(registry.renamed(name, to))


async def sweep(store: Store) -> None:
    """Delete the vectors of dropped views, also of those that a process died over."""
    names = list(store.registry.dropped)
    if names:
        await store.engine.drop_vectors(names)
        await store.engine.flush()
        registry = await store.refresh()
        await store.change(registry.forgetting(names))


async def _begin(store: Store, registry: Registry) -> None:
    """List views that are to be built, whose vectors are made first: what is listed is there."""
    have = {record.vector for record in store.registry.written}
    await store.engine.add_vectors(
        {one.vector: one.dimension for one in registry.written if one.vector not in have}
    )
    await store.change(registry)


def check_questions(registry: Registry, asked: Iterable[View], location: str) -> None:
    """Raise ViewError where a view of one of these names asks something else."""
    for view in asked:
        record = registry.records.get(view.name)
        if record is not None and record.view != view:
            raise ViewError(
                f"view {view.name!r} of {location} asks {record.instruction!r}, not "
                f"{view.instruction!r}; give it another name, or leave it out"
            )

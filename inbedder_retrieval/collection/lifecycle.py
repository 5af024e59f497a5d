"""The life of a view on a live collection: it is added, renamed, rebuilt, dropped.

What is lasting is written in an order that leaves a process free to die at any moment:

    add      make the vector; list the view as building; fill it; list it as ready
    rebuild  the same beside the old one; then, in one write, the new one takes its place
    drop     list it as dropped; delete its vectors; forget it

The same call, also by another process, goes on with what was begun. A vector that was made and not
listed is empty and is in nobody's way; `repair` deletes it. Documents that are added
meanwhile get every vector that is listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from inbedder_retrieval.collection.backfill import fill
from inbedder_retrieval.collection.registry import Registry, ViewRecord
from inbedder_retrieval.collection.store import Store
from inbedder_retrieval.embeddings import TextEmbedder
from inbedder_retrieval.errors import ModelMismatch, ViewError
from inbedder_retrieval.views import View, Views

__all__ = [
    "add_views",
    "check_questions",
    "check_views",
    "drop_view",
    "finish_views",
    "rebuild_views",
    "rename_view",
    "sweep",
]

Progress = Callable[[int, int], None]


async def add_views(store: Store, views: Views, *, progress: Progress | None = None) -> int:
    """Ask further questions of all documents, and return how many were embedded.

    One pass over the texts fills all views that are being built.

    Raises:
        ViewError: a view of this name asks something else here.
        ModelMismatch: the views are being rebuilt with another model.
    """

    def begun(registry: Registry) -> Registry:
        check_questions(registry, views, store.location)
        for coming in registry.successors.values():
            if coming.fingerprint != embedder.fingerprint:
                raise ModelMismatch(
                    f"the views of {store.location} are being rebuilt with {coming.model}; finish "
                    "that first, so that all are of one model"
                )
        return registry.with_views(views, embedder)

    check_questions(await store.refresh(), views, store.location)
    embedder = store.embedder()
    embedder.embed([], views)  # A question the model cannot take is found before anything is.
    registry = await store.change(begun)
    return await _build(store, registry, progress)


async def _build(store: Store, registry: Registry, progress: Progress | None) -> int:
    building = [one for one in registry.records.values() if one.state == "building"]
    filled = await fill(store, building, progress=progress) if building else 0
    # Others may have changed views meanwhile; one that was dropped is not to come back.
    vectors = {record.vector for record in building}
    await store.change(
        lambda now: now.ready(one.name for one in now.records.values() if one.vector in vectors)
    )
    return filled


async def rebuild_views(
    store: Store,
    views: Views | None = None,
    embedder: TextEmbedder | None = None,
    *,
    progress: Progress | None = None,
) -> int:
    """Embed all documents anew for these views, and return how many were embedded.

    Searches find the old vectors until the new ones are there; then all views change at once.

    Args:
        views: names of views that there are, with the question each is to ask; None takes all as
            they are.
        embedder: another model, for all views; None keeps the one there is.

    Raises:
        UnknownView: there is no view of one of these names.
        ModelMismatch: another model is given for some views only, or some are being rebuilt with
            another one.
    """
    registry = await store.refresh()
    views = registry.views if views is None else views
    for view in views:
        registry.record(view.name)
    model = embedder or store.embedder()

    def begun(registry: Registry) -> Registry:
        written_by = {one.fingerprint for one in registry.records.values()}
        if written_by != {model.fingerprint} and set(views.names) != set(registry.records):
            raise ModelMismatch(
                f"{model.name} is not the model of {store.location}, and the views of a "
                "collection are of one model; rebuild all of them at once"
            )
        for name, coming in registry.successors.items():
            if name not in views.names and coming.fingerprint != model.fingerprint:
                raise ModelMismatch(
                    f"view {name!r} of {store.location} is being rebuilt with another model "
                    f"({coming.model}); rebuild all views at once, with either"
                )
        return registry.with_successors(views, model)

    begun(registry)
    model.embed([], views)
    store.known.embedders[model.fingerprint] = model
    registry = await store.change(begun)
    return await _replace(store, [registry.successors[name] for name in views.names], progress)


async def _replace(store: Store, coming: list[ViewRecord], progress: Progress | None) -> int:
    filled = await fill(store, coming, progress=progress)
    await store.change(lambda now: now.switched(record.vector for record in coming))
    # Somebody who had not heard of them may have written without them just before the switch.
    filled += await fill(store, coming)
    await sweep(store)
    return filled


async def finish_views(store: Store, *, progress: Progress | None = None) -> int:
    """Finish what was interrupted, whoever began it, and return how many were embedded.

    Raises:
        ModelMismatch: views are being built with a model that is not here.
    """
    filled = await _build(store, await store.refresh(), progress)
    if coming := list((await store.refresh()).successors.values()):
        filled += await _replace(store, coming, progress)
    return filled


async def drop_view(store: Store, name: str) -> None:
    """Forget a view and delete its vectors.

    Raises:
        UnknownView: there is none of this name.
        ViewError: it is the only one.
    """
    await store.change(lambda now: now.without(name))
    await sweep(store)


async def rename_view(store: Store, name: str, to: str) -> None:
    """Call a view by another name; nothing is embedded.

    Raises:
        UnknownView: there is none of this name.
        ViewError: there is one of the new name, or it can be none.
    """
    await store.change(lambda now: now.renamed(name, to))


async def sweep(store: Store) -> None:
    """Delete the vectors of dropped views, also of those that a process died over."""
    names = list(store.registry.dropped)
    if names:
        await store.engine.drop_vectors(names)
        await store.engine.flush()
        await store.change(lambda now: now.forgetting(names))


def check_questions(registry: Registry, asked: Iterable[View], location: str) -> None:
    """Raise ViewError where a view of one of these names asks something else."""
    for view in asked:
        record = registry.records.get(view.name)
        if record is not None and record.view != view:
            raise ViewError(
                f"view {view.name!r} of {location} asks {record.instruction!r}, not "
                f"{view.instruction!r}; give it another name, or leave it out"
            )


def check_views(store: Store, asked: Iterable[View]) -> None:
    """Raise ViewError where there is not each of these views, asking the same."""
    registry = store.registry
    for view in asked:
        if view.name not in registry.records:
            raise ViewError(
                f"{store.location} has no view {view.name!r} (it has "
                f"{', '.join(registry.records)}); add it with 'inbedder views add' or "
                "ViewCollection.add_view, or leave it out"
            )
    check_questions(registry, asked, store.location)

"""Copies: a collection goes from one location to another, or into an archive and out of it.

Vectors and registry are copied as they are; nothing is embedded, and no model is loaded. How a
copy is written, gone on with and checked is in `transfer.py`. An archive appears whole, so one that
was interrupted is begun anew.
"""

from __future__ import annotations

from pathlib import Path

from inbedder_retrieval.collection.archive import Archive, is_archive, write_archive
from inbedder_retrieval.collection.connection import Connection
from inbedder_retrieval.collection.flow import run
from inbedder_retrieval.collection.location import MEMORY, open_engine
from inbedder_retrieval.collection.origin import (
    CopyReport,
    Origin,
    StoredOrigin,
    check_apart,
    check_room,
    report_of,
)
from inbedder_retrieval.collection.registry import Registry
from inbedder_retrieval.collection.storage import Storage
from inbedder_retrieval.collection.store import Known, Store
from inbedder_retrieval.collection.transfer import Progress, transfer
from inbedder_retrieval.errors import EngineError, InputError

__all__ = ["copy_archive", "copy_collection", "copy_store", "save_store"]


def copy_collection(
    source: str | Path,
    target: str | Path,
    *,
    storage: Storage | None = None,
    connection: Connection | None = None,
    progress: Progress | None = None,
) -> CopyReport:
    """Copy a collection from one location to another; no model is loaded.

    A location is a folder, a server's address, or an archive: a file named `.parquet`. What was
    interrupted is finished by the same call.

    Args:
        storage: how the vectors are kept there, on an engine; None keeps them as the source does,
            without what only a server has where the target is none. The tenant stays.
        connection: time-outs and patience with servers.
        progress: called with the numbers of documents done and to be done.

    Raises:
        CollectionNotFound: there is nothing at the source.
        CollectionExists: the target is taken, and is no unfinished copy of this source.
        SourceError: a Parquet file is no archive.
        InputError: both are one place, or `:memory:`, which nobody could open afterwards.
        EngineError: an engine refused, a server does not answer, there is no room, or others write
            to the source so much that the copy cannot follow. What is copied stays.
    """
    for place in (source, target):
        if str(place) == MEMORY:
            raise InputError(
                f"a collection in {MEMORY} belongs to the object that created it; copy it with "
                "ViewCollection.copy, or give a folder"
            )
    check_apart(source, target)
    if is_archive(source):
        archive = Archive(Path(source))
        try:
            return _copied(run(_copy_any(archive, target, storage, connection, progress)))
        finally:
            archive.close()
    engine = open_engine(source, connection=connection)
    try:
        registry = Registry.from_entries(run(engine.read_registry()), str(source))
        store = Store(str(source), engine, Known(registry))
        return _copied(run(_copy_stored(store, target, storage, connection, progress)))
    finally:
        run(engine.close())


async def copy_store(
    store: Store,
    target: str | Path,
    *,
    storage: Storage | None = None,
    connection: Connection | None = None,
    progress: Progress | None = None,
) -> tuple[Store, CopyReport]:
    """Copy an open collection to another engine, and return the copy, open.

    Args and errors as of `copy_collection`; the target may be `:memory:`.
    """
    check_apart(store.location, target)
    source = await _stored(store)
    copied, report = await transfer(source, target, storage, connection, progress)
    copied.known.embedders.update(store.known.embedders)
    return copied, report


async def save_store(
    store: Store, file: str | Path, *, progress: Progress | None = None
) -> CopyReport:
    """Write an open collection into an archive.

    Raises:
        CollectionExists: there is a file of this name.
        ViewError: a view is named as a column that every archive has.
        EngineError: the file cannot be written, or others write to the collection meanwhile.
    """
    _check_archive(file)
    return await _save(await _stored(store), Path(file), progress)


async def copy_archive(
    file: str | Path,
    target: str | Path,
    *,
    storage: Storage | None = None,
    connection: Connection | None = None,
    progress: Progress | None = None,
) -> tuple[Store, CopyReport]:
    """Make a collection of an archive, and return it, open.

    Args and errors as of `copy_collection`; the target may be `:memory:`.
    """
    _check_archive(file)
    archive = Archive(Path(file))
    try:
        return await transfer(archive, target, storage, connection, progress)
    finally:
        archive.close()


def _copied(copied: tuple[Store | None, CopyReport]) -> CopyReport:
    store, report = copied
    if store is not None:
        run(store.engine.close())
    return report


async def _stored(store: Store) -> Origin:
    await store.refresh()
    return StoredOrigin(store, await store.engine.indexed_fields())


async def _copy_stored(
    store: Store,
    target: str | Path,
    storage: Storage | None,
    connection: Connection | None,
    progress: Progress | None,
) -> tuple[Store | None, CopyReport]:
    return await _copy_any(await _stored(store), target, storage, connection, progress)


async def _copy_any(
    source: Origin,
    target: str | Path,
    storage: Storage | None,
    connection: Connection | None,
    progress: Progress | None,
) -> tuple[Store | None, CopyReport]:
    if not is_archive(target):
        return await transfer(source, target, storage, connection, progress)
    if storage is not None:
        raise InputError(f"{target} is a file, which has no storage to choose; leave it out")
    return None, await _save(source, Path(target), progress)


async def _save(source: Origin, file: Path, progress: Progress | None) -> CopyReport:
    total, written, after = await source.count(), 0, None
    check_room(file, source.registry, total)
    registry = source.registry.model_copy(update={"successors": {}, "dropped": {}})
    with write_archive(file, registry, source.indexes) as write:
        while True:
            points, after = await source.page(after)
            write(points)
            written += len(points)
            if progress is not None:
                progress(written, max(total, written))
            if after is None:
                break
        now = await source.count()
        if now != written:
            raise EngineError(
                f"{source.location} holds {now} documents, and {written} were read: others write "
                "to it. Try again when they do not, or copy it to a folder first"
            )
    return report_of(source, file, documents=written, written=written)


def _check_archive(file: str | Path) -> None:
    if not is_archive(file):
        raise InputError(f"{file} is no name of an archive; give a file named .parquet")

"""The folder of an Edge collection: its registry, and the shard beside it.

support.inb/registry.json    the registry, replaced atomically
support.inb/shard/           the shard, with its write-ahead log
support.inb/shard.before/    its copy, while its named vectors change
support.inb/.lock            held by who has the folder open
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast
from uuid import uuid4

from filelock import FileLock, Timeout

from inbedder_retrieval.collection.location import EDGE_MARK
from inbedder_retrieval.errors import (
    CollectionError,
    CollectionExists,
    CollectionLocked,
    EngineError,
)

__all__ = [
    "SHARD",
    "check_room",
    "held",
    "holds_shard",
    "lies_on_disk",
    "lock",
    "make_folder",
    "read_registry",
    "read_vectors",
    "restorable",
    "restore",
    "write_registry",
]

Found = TypeVar("Found")

SHARD, BEFORE, LOCK = "shard", "shard.before", ".lock"
# What a disk must hold beyond what is written: Edge's own records of it.
ROOM = 16 << 20
PIECE = 1 << 20
# Where Edge keeps what a shard is made of; its API does not tell.
EDGE_CONFIG = "edge_config.json"


def make_folder(
    folder: Path, registry: Mapping[str, Any], make_shard: Callable[[Path], None]
) -> None:
    """Make the folder beside its place and rename it there, so that it appears whole."""
    place = Path(os.path.realpath(folder))
    existed = place.is_dir()
    scratch = (place if existed else place.parent) / f".inbedder-{uuid4().hex[:12]}"
    try:
        (scratch / SHARD).mkdir(parents=True)
        make_shard(scratch / SHARD)
        write_registry(scratch, registry)
        if existed:
            # The folder stays: it may be a mount, or where somebody is working. The registry
            # comes last, since it is what makes the folder a collection.
            (scratch / SHARD).rename(place / SHARD)
            (scratch / EDGE_MARK).rename(place / EDGE_MARK)
            scratch.rmdir()
        else:
            scratch.rename(place)
    except OSError as error:
        shutil.rmtree(scratch, ignore_errors=True)
        if (place / SHARD).exists():
            raise CollectionExists(
                f"{folder} was created by somebody else just now; open it"
            ) from error
        raise EngineError(f"no collection can be created at {folder}: {error}") from error
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def lock(folder: Path) -> FileLock:
    """Hold the folder until what is returned is released.

    Edge locks a shard, and a folder's shard is closed, copied and put back while it is in use.

    Raises:
        CollectionLocked: another process holds it, or another object in this one.
    """
    # Whichever thread closes a collection lets go of it.
    own = FileLock(folder / LOCK, timeout=0, thread_local=False)
    try:
        own.acquire()
    except Timeout as error:
        raise held(f"open the collection at {folder}", LOCK) from error
    except OSError as error:
        raise EngineError(f"{folder} cannot be opened for writing: {error}") from error
    return own


def holds_shard(folder: Path) -> bool:
    """Return whether there is a shard, or the copy that is put in its place."""
    return (folder / SHARD).is_dir() or (folder / BEFORE).is_dir()


def held(action: str, where: str) -> CollectionLocked:
    """Return what is raised where an action met a lock in the folder."""
    return CollectionLocked(
        f"could not {action}: it is held by another process, or by another object in this one (the "
        f"lock is on {where} in it); close that first (a folder has one user at a time, a server "
        "many)"
    )


def check_room(folder: Path, size: int, *, spare: int = ROOM) -> None:
    """Raise EngineError where the disk cannot take so many bytes, before anything is written.

    Edge writes through memory maps of sparse files: on a full disk the system ends the process.
    """
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise EngineError(f"{folder} cannot be written: {error}") from error
    if free < size + spare:
        raise EngineError(
            f"{folder} has no room: its disk has {free >> 20} MiB left, and "
            f"{(size + spare >> 20) + 1} MiB are needed; make room and do the same again"
        )


def read_registry(folder: Path) -> dict[str, Any]:
    """Return the registry's flat entries."""
    path = folder / EDGE_MARK
    try:
        return cast("dict[str, Any]", json.loads(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise CollectionError(f"the registry {path} cannot be read: {error}") from error


def read_vectors(folder: Path) -> dict[str, int]:
    """Return the width of every named vector of the shard."""
    return _read_vectors(folder, lambda params: int(params["size"]))


def lies_on_disk(folder: Path) -> bool:
    """Return whether the shard was made with its vectors on disk."""
    return any(_read_vectors(folder, lambda params: bool(params.get("on_disk"))).values())


def write_registry(folder: Path, entries: Mapping[str, Any]) -> None:
    """Replace the registry so that a reader sees the old or the new one, also after a crash."""
    path = folder / EDGE_MARK
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(entries, file, indent=2, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise EngineError(f"the registry {path} cannot be written: {error}") from error


def _read_vectors(folder: Path, about: Callable[[dict[str, Any]], Found]) -> dict[str, Found]:
    path = folder / SHARD / EDGE_CONFIG
    try:
        vectors = json.loads(path.read_bytes())["vectors"]
        return {name: about(params) for name, params in vectors.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(f"the vectors of {path} cannot be read: {error}") from error


@contextmanager
def restorable(folder: Path) -> Iterator[None]:
    """Keep a copy of the shard, which nobody writes to, while its named vectors change.

    Edge changes its configuration and its segments one after the other: a process that dies in
    between leaves a shard that cannot be opened, or that lacks a vector. `restore` goes back to
    the copy then.
    """
    copy, before = folder / f"{BEFORE}.part", folder / BEFORE
    try:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder / SHARD, copy, copy_function=_copy)
        check_room(folder, 0)
        copy.rename(before)
    except EngineError:
        shutil.rmtree(copy, ignore_errors=True)
        raise
    except OSError as error:
        shutil.rmtree(copy, ignore_errors=True)
        # Of a whole tree, what was said of its first file.
        said = error.args[0][0][2] if isinstance(error, shutil.Error) else error
        raise EngineError(
            f"{folder} has no room for a copy of its shard, which is kept while its named vectors "
            f"change: {said}"
        ) from error
    try:
        yield
    finally:
        # Also after a refusal: what is written from here on must not be gone back on. Gone at
        # once by its name, then from the disk.
        before.rename(copy)
        shutil.rmtree(copy, ignore_errors=True)


def restore(folder: Path) -> None:
    """Go back to the copy that is there where a change of the named vectors was cut short.

    Only who holds the folder's lock may: while somebody else does, the change goes on.
    """
    before = folder / BEFORE
    if not before.is_dir():
        return
    try:
        if (folder / SHARD).exists():
            shutil.rmtree(folder / SHARD)
        before.rename(folder / SHARD)
    except OSError as error:
        raise EngineError(f"{folder} cannot be put back as it was: {error}") from error


def _copy(source: str, target: str) -> str:
    """Copy a file and leave its holes: what Edge has reserved is far more than it has written."""
    if not hasattr(os, "SEEK_DATA"):
        return shutil.copyfile(source, target)
    with open(source, "rb") as file, open(target, "wb") as copy:
        size = os.fstat(file.fileno()).st_size
        end = 0
        while end < size:
            try:
                start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # There is a hole up to the end.
                    break
                raise
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            file.seek(start)
            copy.seek(start)
            while start < end:
                start += copy.write(file.read(min(end - start, PIECE)))
        copy.truncate(size)
    return target

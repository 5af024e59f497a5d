"""The folder of an Edge collection: its registry, and the shard beside it.

support.inb/registry.json    the registry, replaced atomically
support.inb/shard/           the shard, with its write-ahead log
support.inb/shard.before/    its copy, while its named vectors change
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from inbedder_retrieval.collection.location import EDGE_MARK
from inbedder_retrieval.errors import CollectionError, CollectionExists, EngineError

__all__ = [
    "SHARD",
    "make_folder",
    "read_registry",
    "read_vectors",
    "restorable",
    "restore",
    "write_registry",
]

SHARD, BEFORE = "shard", "shard.before"
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


def read_registry(folder: Path) -> dict[str, Any]:
    """Return the registry's flat entries."""
    path = folder / EDGE_MARK
    try:
        return cast("dict[str, Any]", json.loads(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise CollectionError(f"the registry {path} cannot be read: {error}") from error


def read_vectors(folder: Path) -> dict[str, int]:
    """Return the width of every named vector of the shard."""
    path = folder / SHARD / EDGE_CONFIG
    try:
        vectors = json.loads(path.read_bytes())["vectors"]
        return {name: params["size"] for name, params in vectors.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(f"the vectors of {path} cannot be read: {error}") from error


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
        shutil.copytree(folder / SHARD, copy)
        copy.rename(before)
    except OSError as error:
        shutil.rmtree(copy, ignore_errors=True)
        raise EngineError(
            f"{folder} has no room for a copy of its shard, which is kept while its named vectors "
            f"change: {error}"
        ) from error
    try:
        yield
    finally:
        # Also after a refusal: what is written from here on must not be gone back on. Gone at
        # once by its name, then from the disk.
        before.rename(copy)
        shutil.rmtree(copy, ignore_errors=True)


def restore(folder: Path, take_lock: Callable[[Path], None]) -> None:
    """Go back to the copy that is there where a change of the named vectors was cut short.

    Args:
        take_lock: raises CollectionLocked where the shard at a path is held: somebody is at work.
    """
    before = folder / BEFORE
    if not before.is_dir():
        return
    take_lock(before)
    try:
        if (folder / SHARD).exists():
            shutil.rmtree(folder / SHARD)
        before.rename(folder / SHARD)
    except OSError as error:
        raise EngineError(f"{folder} cannot be put back as it was: {error}") from error

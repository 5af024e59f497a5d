"""An archive: a collection as one Parquet file.

A row a document: `id`, `text`, `metadata` (JSON text), and a column for each view, of its name: a
list of H float32, or null where the document lacks the vector. The registry and the payload indexes
stand in the file's own metadata (Parquet's key-value metadata), under `inbedder`; so a file that
pyarrow filtered is an archive still. A file is written under another name and renamed, so that it
appears whole. Nothing here talks to an engine.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from inbedder_retrieval.collection.engine import Point
from inbedder_retrieval.collection.location import is_server
from inbedder_retrieval.collection.registry import Registry, ViewRecord
from inbedder_retrieval.collection.requests import size_of
from inbedder_retrieval.collection.schema import (
    ID,
    METADATA,
    TEXT,
    document_of,
    metadata_of,
    noted,
    payload_of,
    point_id,
)
from inbedder_retrieval.documents import Document
from inbedder_retrieval.errors import (
    CollectionExists,
    CollectionNotFound,
    EngineError,
    InputError,
    MissingExtraError,
    SourceError,
    ViewError,
)

__all__ = ["Archive", "is_archive", "write_archive"]

SUFFIX = ".parquet"
ABOUT = b"inbedder"
COLUMNS = (ID, TEXT, METADATA)
# What is held in memory before it is written as a row group, as `size_of` counts.
GROUP_ROWS, GROUP_BYTES = 10_000, 64 << 20


def is_archive(location: str | Path) -> bool:
    """Whether a location is a Parquet file's, by its name."""
    return (
        str(location).lower().endswith(SUFFIX)
        and not is_server(location)
        and not Path(location).is_dir()
    )


class Archive:
    """An archive that is read.

    Attributes:
        identity: what tells this file from others; a file that is written anew has another.
        indexes: the payload indexes of the collection, kinds by path.

    Raises:
        CollectionNotFound: there is no such file.
        SourceError: it is no Parquet file, or no archive.
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(self, file: Path) -> None:
        self._pa = _pyarrow()
        self.location = str(file)
        if not file.exists():
            raise CollectionNotFound(f"there is no file {file}; name an archive that there is")
        with self._readable():
            self._file = self._pa.parquet.ParquetFile(file)
        schema = self._file.schema_arrow
        try:
            about = json.loads((schema.metadata or {})[ABOUT])
            entries, self.identity = about["registry"], str(about["identity"])
            self.indexes: dict[str, str] = dict(about["indexes"])
        except (KeyError, TypeError, ValueError) as error:
            self.close()
            raise SourceError(
                f"{file} holds no collection, only rows; to make a collection of them, use "
                f"'inbedder index {file} --to LOCATION'"
            ) from error
        try:
            self.registry = Registry.from_entries(entries, self.location)
            self._check_columns(schema)
        except BaseException:
            self.close()
            raise

    async def count(self) -> int:
        """Count the rows."""
        return int(self._file.metadata.num_rows)

    async def page(self, after: str | None) -> tuple[list[Point], str | None]:
        """Return the points of a row group, and what to give as `after` for the next.

        Raises:
            SourceError: a row cannot be one of a collection.
        """
        number, count = int(after or 0), self._file.num_row_groups
        if number >= count:
            return [], None
        with self._readable():
            table = self._file.read_row_group(number)
        names, texts, metadata = (table.column(name).to_pylist() for name in COLUMNS)
        points = [
            Point(point_id(document.id), payload_of(document))
            for document in map(self._document, names, texts, metadata)
        ]
        for record in self.registry.records.values():
            found = self._vectors(table.column(record.name), record)
            for point, vector in zip(points, found, strict=True):
                if vector is not None:
                    point.vectors[record.vector] = vector
        return points, str(number + 1) if number + 1 < count else None

    async def gone(self, points: Sequence[Point]) -> list[Point]:
        """Return none: what was copied from a file stays in it."""
        return []

    async def check(self) -> None:
        """Do nothing: the views of a file stay as they are."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _document(self, name: Any, text: Any, metadata: Any) -> Document:
        try:
            return Document(text, id=name or "", **noted(json.loads(metadata)))
        except (TypeError, ValueError) as error:
            raise SourceError(
                f"{self.location}, document {name!r} cannot be read: {error}; "
                "write the archive again"
            ) from error

    def _vectors(self, column: Any, record: ViewRecord) -> list[NDArray[np.float32] | None]:
        """Return a row's vector (H,), or None, for every row."""
        there = np.asarray(column.is_valid(), dtype=bool)
        chunks = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
        numbers = np.concatenate([np.zeros(0, np.float32), *chunks]).astype(np.float32, copy=False)
        if not np.isfinite(numbers).all():
            raise SourceError(
                f"{self.location}: view {record.name!r} holds vectors that are not finite numbers; "
                "write the archive again"
            )
        rows = iter(numbers.reshape(-1, record.dimension))
        return [next(rows) if one else None for one in there]

    def _check_columns(self, schema: Any) -> None:
        pa = self._pa
        texts = [pa.string(), pa.large_string()]
        wanted = dict.fromkeys(COLUMNS, ("text", texts))
        for name, record in self.registry.records.items():
            numbers = f"lists of {record.dimension} float32"
            wanted[name] = (numbers, [pa.list_(pa.float32(), record.dimension)])
        for name, (what, types) in wanted.items():
            found = schema.field(name).type if name in schema.names else None
            if found not in types:
                holds = "is missing" if found is None else f"holds {found}"
                raise SourceError(
                    f"{self.location}: column {name!r} {holds}; it must hold {what}. Write the "
                    "archive again"
                )

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (self._pa.ArrowException, OSError) as error:
            raise SourceError(f"{self.location} cannot be read as Parquet: {error}") from error


@contextmanager
def write_archive(
    file: Path, registry: Registry, indexes: Mapping[str, str]
) -> Iterator[Callable[[Sequence[Point]], None]]:
    """Yield what writes points; the file appears at the end of the block, if nothing was raised.

    Raises:
        CollectionExists: there is something of this name.
        ViewError: a view is named as one of the columns that every archive has.
        EngineError: the file cannot be written.
        MissingExtraError: pyarrow is not installed.
    """
    pa = _pyarrow()
    _check_free(file)
    for name in COLUMNS:
        if name in registry.records:
            raise ViewError(
                f"a view is named {name!r}, as a column that every archive has; rename the view"
            )
    schema = _schema(pa, registry, indexes)
    part, mine = file.with_name(f".{file.name}.part"), None
    try:
        # What a process left that was killed goes; one that still writes it keeps its own.
        part.unlink(missing_ok=True)
        with part.open("xb") as out:
            mine = os.fstat(out.fileno())
            with pa.parquet.ParquetWriter(
                out, schema, compression="zstd", use_dictionary=False, write_statistics=[ID]
            ) as writer:
                rows = _Rows(pa, schema, registry, writer)
                yield rows.add
                rows.write()
            out.flush()
            os.fsync(out.fileno())
            _check_free(file)
            if not _is_there(part, mine):
                raise CollectionExists(f"somebody else writes {file} too; give another name")
            os.replace(part, file)
    except (pa.ArrowException, OSError) as error:
        _discard(part, mine)
        raise EngineError(f"{file} cannot be written: {error}") from error
    except BaseException:
        _discard(part, mine)
        raise


class _Rows:
    """Points that are kept until they are enough for a row group."""

    def __init__(self, pa: Any, schema: Any, registry: Registry, writer: Any) -> None:
        self._pa = pa
        self._schema = schema
        self._records = list(registry.records.values())
        self._writer = writer
        self._points: list[Point] = []
        self._size = 0

    def add(self, points: Sequence[Point]) -> None:
        for point in points:
            self._points.append(point)
            self._size += size_of(point)
            if len(self._points) >= GROUP_ROWS or self._size >= GROUP_BYTES:
                self.write()

    def write(self) -> None:
        if not self._points:
            return
        pa, points = self._pa, self._points
        documents = [document_of(point.payload) for point in points]
        metadata = [metadata_of(point.payload) for point in points]
        columns = [
            pa.array([one.id for one in documents], pa.string()),
            pa.array([one.text for one in documents], pa.string()),
            pa.array([json.dumps(one, ensure_ascii=False) for one in metadata]),
        ]
        for record in self._records:
            lacking = np.array([record.vector not in point.vectors for point in points])
            numbers = np.zeros((len(points), record.dimension), dtype=np.float32)
            for row, point in enumerate(points):
                if not lacking[row]:
                    numbers[row] = point.vectors[record.vector]
            columns.append(
                pa.FixedSizeListArray.from_arrays(
                    pa.array(numbers.ravel()), record.dimension, mask=pa.array(lacking)
                )
            )
        table = pa.Table.from_arrays(columns, schema=self._schema)
        self._writer.write_table(table, row_group_size=len(points))
        self._points, self._size = [], 0


def _schema(pa: Any, registry: Registry, indexes: Mapping[str, str]) -> Any:
    about = {
        "registry": registry.entries(),
        "indexes": dict(indexes),
        "identity": uuid4().hex,
    }
    fields = [pa.field(name, pa.string()) for name in COLUMNS]
    fields += [
        pa.field(name, pa.list_(pa.float32(), record.dimension))
        for name, record in registry.records.items()
    ]
    return pa.schema(fields, metadata={ABOUT: json.dumps(about)})


def _check_free(file: Path) -> None:
    if file.exists():
        raise CollectionExists(f"{file} is there already; give a name that is free, or delete it")
    if file.name.lower() == SUFFIX:
        raise InputError(f"{file} has no name before {SUFFIX}; give it one")


def _is_there(part: Path, mine: os.stat_result) -> bool:
    """Whether a file is the one that was opened, and not another of its name."""
    try:
        return os.path.samestat(part.stat(), mine)
    except OSError:
        return False


def _discard(part: Path, mine: os.stat_result | None) -> None:
    with suppress(OSError):
        if mine is not None and _is_there(part, mine):
            part.unlink()


def _pyarrow() -> Any:
    try:
        importlib.import_module("pyarrow.parquet")
        return importlib.import_module("pyarrow")
    except ImportError as error:
        raise MissingExtraError("reading and writing Parquet files", "parquet") from error

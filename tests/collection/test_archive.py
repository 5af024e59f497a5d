"""Archives: Parquet files that others can read, and that become a collection again."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import compute, parquet

from inbedder_retrieval import (
    CollectionError,
    CollectionExists,
    CollectionNotFound,
    Document,
    EngineError,
    InputError,
    MissingExtraError,
    SourceError,
    Storage,
    View,
    ViewCollection,
    ViewError,
    Views,
)
from inbedder_retrieval.collection.archive import is_archive, write_archive
from inbedder_retrieval.collection.copies import copy_archive, copy_collection, save_store
from inbedder_retrieval.collection.flow import run
from inbedder_retrieval.collection.schema import point_id
from inbedder_retrieval.testing import FakeEmbedder
from tests.collection.copied import (
    MANY,
    VIEWS,
    Stopped,
    a_collection,
    check_holds,
    killed_copy,
    stop_at,
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documents of MANY. Do not write to it."""
    file = tmp_path_factory.mktemp("archive") / "a.parquet"
    with a_collection(":memory:") as collection:
        run(save_store(collection._store, file))
    return file


def opened(file: Path) -> ViewCollection:
    store, _ = run(copy_archive(file, ":memory:"))
    return ViewCollection(store)


def test_an_archive_is_a_table_that_others_can_read(archive: Path) -> None:
    table = parquet.read_table(archive)
    assert table.column_names == ["id", "text", "metadata", *VIEWS.names]
    wanted = FakeEmbedder().embed([document.text for document in MANY], VIEWS)
    rows = {document.id: number for number, document in enumerate(MANY)}
    numbers = [rows[name] for name in table.column("id").to_pylist()]
    assert sorted(numbers) == list(range(len(MANY)))
    assert table.column("text").to_pylist() == [MANY[number].text for number in numbers]
    found = [json.loads(text) for text in table.column("metadata").to_pylist()]
    assert found == [MANY[number].metadata for number in numbers]
    for name in VIEWS.names:
        assert table.schema.field(name).type == pa.list_(pa.float32(), 32)
        vectors = np.array(table.column(name).to_pylist(), dtype=np.float32)
        np.testing.assert_allclose(vectors, wanted[name][numbers], atol=2e-7)


def test_row_groups_are_bounded_by_rows_and_by_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = "inbedder_retrieval.collection.archive"
    with a_collection(":memory:") as collection:
        for name, value in (("GROUP_ROWS", 16), ("GROUP_BYTES", 50_000)):
            with monkeypatch.context() as patch:
                patch.setattr(f"{where}.{name}", value)
                file = tmp_path / f"{name}.parquet"
                run(save_store(collection._store, file))
            meta = parquet.ParquetFile(file).metadata
            rows = [meta.row_group(number).num_rows for number in range(meta.num_row_groups)]
            # A row has 96 numbers, of 22 bytes as JSON, and at most 400 bytes besides.
            most = {"GROUP_ROWS": 16, "GROUP_BYTES": 50_000 // (96 * 22) + 1}[name]
            least = {"GROUP_ROWS": 16, "GROUP_BYTES": 50_000 // (96 * 22 + 400)}[name]
            assert all(least <= count <= most for count in rows[:-1])
            assert len(rows) > 3
            with opened(file) as again:
                check_holds(again, MANY)


def test_rows_that_were_filtered_are_an_archive_still(archive: Path, tmp_path: Path) -> None:
    table = parquet.read_table(archive)
    kept = table.filter(compute.starts_with(table.column("id"), "d1"))
    parquet.write_table(kept, tmp_path / "some.parquet", row_group_size=4)
    with opened(tmp_path / "some.parquet") as collection:
        check_holds(collection, [one for one in MANY if one.id.startswith("d1")])


def test_a_vector_that_a_document_lacks_is_null(archive: Path, tmp_path: Path) -> None:
    table = parquet.read_table(archive)
    at = table.column_names.index("need")
    vectors = table.column("need").to_pylist()
    gaps = [None if row % 3 == 0 else vector for row, vector in enumerate(vectors)]
    column = pa.array(gaps, pa.list_(pa.float32(), 32))
    parquet.write_table(table.set_column(at, "need", column), tmp_path / "gaps.parquet")
    with opened(tmp_path / "gaps.parquet") as collection:
        name = collection.info().views[VIEWS.names.index("need")].vector
        assert run(collection._store.engine.count(lacking=[name])) == 30
        ids = [point_id(one) for one in table.column("id").to_pylist()]
        stored = run(collection._store.engine.retrieve(ids, [], vectors=[name]))
        for one, vector in zip(ids, gaps, strict=True):
            found = stored[one].vectors.get(name)
            assert (found is None) == (vector is None)
            if found is not None:
                np.testing.assert_allclose(found, np.array(vector, np.float32), atol=2e-7)
        run(save_store(collection._store, tmp_path / "again.parquet"))
    again = parquet.read_table(tmp_path / "again.parquet")
    assert again.column("need").null_count == 30


def edited(file: Path, to: Path, edit: Callable[[pa.Table], pa.Table]) -> Path:
    parquet.write_table(edit(parquet.read_table(file)), to)
    return to


def with_column(name: str, values: Any) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.column_names.index(name), name, values)


NUMBERS = pa.list_(pa.float32(), 32)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda table: table.replace_schema_metadata({}), r"only rows; .*'inbedder index .*--to"),
        (lambda table: table.replace_schema_metadata({"inbedder": "?"}), r"holds no collection"),
        (
            lambda table: table.drop_columns(["need"]),
            "column 'need' is missing; it must hold lists",
        ),
        (lambda table: table.drop_columns(["text"]), "column 'text' is missing; it must hold text"),
        (with_column("need", pa.array([[1.0]] * 90)), "column 'need' holds list<.*32 float32"),
        (with_column("id", pa.array(range(90))), "column 'id' holds int64; it must hold text"),
        (with_column("need", pa.array([[np.nan] * 32] * 90, NUMBERS)), "'need' .* not finite"),
        (with_column("metadata", pa.array(["{"] * 90)), "document 'd.*' cannot be read: .*"),
        (with_column("metadata", pa.array(["[1]"] * 90)), "metadata is list"),
        (with_column("text", pa.array([None] * 90, pa.string())), "text is NoneType"),
        (with_column("id", pa.array([None] * 90, pa.string())), "cannot be read"),
    ],
)
def test_a_file_that_is_no_archive_is_refused(
    archive: Path, tmp_path: Path, edit: Callable[[pa.Table], pa.Table], message: str
) -> None:
    file = edited(archive, tmp_path / "b.parquet", edit)
    with pytest.raises(SourceError, match=message):
        run(copy_archive(file, ":memory:"))


def test_an_id_that_is_there_twice_is_said(archive: Path, tmp_path: Path) -> None:
    file = edited(archive, tmp_path / "b.parquet", lambda table: pa.concat_tables([table, table]))
    with pytest.raises(EngineError, match=r"holds 180 documents .* 90: .*an id is there twice"):
        run(copy_archive(file, ":memory:"))


def test_files_that_are_not_there_or_not_parquet_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.parquet").write_text("mine")
    with pytest.raises(SourceError, match=r"notes\.parquet cannot be read as Parquet"):
        copy_collection(tmp_path / "notes.parquet", tmp_path / "b.inb")
    with pytest.raises(CollectionNotFound, match=r"no file .*missing\.parquet"):
        copy_collection(tmp_path / "missing.parquet", tmp_path / "b.inb")
    with pytest.raises(InputError, match=r"give a file named \.parquet"):
        run(copy_archive(tmp_path / "a.csv", ":memory:"))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.parquet"]


def test_a_location_is_an_archive_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "folder.parquet").mkdir()
    assert is_archive("a.parquet")
    assert is_archive(tmp_path / "A.PARQUET")
    assert not is_archive(tmp_path / "folder.parquet")
    assert not is_archive("http://host/a.parquet")
    assert not is_archive("a.inb")


def test_a_taken_name_is_refused_and_left_as_it_is(archive: Path, tmp_path: Path) -> None:
    file = tmp_path / "b.parquet"
    file.write_bytes(b"mine")
    for target in (file, tmp_path / ".parquet"):
        with pytest.raises((CollectionExists, InputError), match="give"):
            copy_collection(archive, target)
    with pytest.raises(InputError, match="no storage to choose"):
        copy_collection(archive, tmp_path / "c.parquet", storage=Storage(on_disk=True))
    assert file.read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["b.parquet"]


def test_a_view_named_as_a_column_is_to_be_renamed_first(tmp_path: Path) -> None:
    with ViewCollection.create(":memory:", View("text", "How?"), FakeEmbedder()) as collection:
        collection.add(MANY[:3])
        with pytest.raises(ViewError, match=r"a view is named 'text'.*rename the view"):
            run(save_store(collection._store, tmp_path / "a.parquet"))
        collection.rename_view("text", "how")
        run(save_store(collection._store, tmp_path / "a.parquet"))
    with opened(tmp_path / "a.parquet") as found:
        assert found.views == Views([View("how", "How?")])
        assert found.count() == 3


def test_a_file_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inbedder_retrieval.collection.origin.FIRST_PAGE", 8)
    file = tmp_path / "a.parquet"
    with a_collection(":memory:") as collection:
        with pytest.raises(Stopped):
            run(save_store(collection._store, file, progress=stop_at(50)))
        assert list(tmp_path.iterdir()) == []
        seen: list[bool] = []
        run(save_store(collection._store, file, progress=lambda *_: seen.append(file.exists())))
        assert len(seen) > 2
        assert not any(seen)
    with opened(file) as found:
        check_holds(found, MANY)


def test_what_a_killed_export_left_is_gone_once_the_same_call_is_through(tmp_path: Path) -> None:
    a_collection(tmp_path / "a.inb").close()
    killed_copy(tmp_path / "a.inb", tmp_path / "a.parquet", 40)
    assert not (tmp_path / "a.parquet").exists()
    assert copy_collection(tmp_path / "a.inb", tmp_path / "a.parquet").written == 90
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.inb", "a.parquet"]
    with opened(tmp_path / "a.parquet") as found:
        check_holds(found, MANY)


def test_two_who_write_one_file_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inbedder_retrieval.collection.origin.FIRST_PAGE", 8)
    file = tmp_path / "a.parquet"
    with a_collection(":memory:") as first, a_collection(":memory:", MANY[:9]) as second:
        inner: list[int] = []

        def meddle(done: int, _: int) -> None:
            if done < 30 and not inner:
                inner.append(run(save_store(second._store, file)).written)

        with pytest.raises(CollectionExists, match="is there already"):
            run(save_store(first._store, file, progress=meddle))
    assert inner == [9]
    with opened(file) as found:
        check_holds(found, MANY[:9])


def test_who_comes_first_does_not_take_away_what_another_is_writing(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    with a_collection(":memory:", MANY[:9]) as collection:
        registry = run(collection._store.refresh())
        first, second = (write_archive(file, registry, {}) for _ in range(2))
        first.__enter__()
        write = second.__enter__()
        with pytest.raises(CollectionExists, match="somebody else writes"):
            first.__exit__(None, None, None)
        write([])
        second.__exit__(None, None, None)
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]
    assert parquet.read_table(file).num_rows == 0


def test_documents_that_are_written_while_a_file_is_are_an_error(tmp_path: Path) -> None:
    with a_collection(":memory:") as collection:

        def meddle(_: int, __: int) -> None:
            collection.delete(["d1"])

        with pytest.raises(EngineError, match=r"holds 89 documents, and .* others write to it"):
            run(save_store(collection._store, tmp_path / "a.parquet", progress=meddle))
    assert list(tmp_path.iterdir()) == []


def test_an_archive_of_another_collection_does_not_finish_a_copy(tmp_path: Path) -> None:
    source = tmp_path / "a.inb"
    a_collection(source).close()
    for name in ("one", "two"):
        copy_collection(source, tmp_path / f"{name}.parquet")
    with pytest.raises(Stopped):
        copy_collection(tmp_path / "one.parquet", tmp_path / "b.inb", progress=stop_at(1))
    with pytest.raises(CollectionExists, match=r"unfinished copy of .*one\.parquet"):
        copy_collection(tmp_path / "two.parquet", tmp_path / "b.inb")
    with pytest.raises(CollectionError, match="not finished"):
        ViewCollection.open(tmp_path / "b.inb", FakeEmbedder())
    assert copy_collection(tmp_path / "one.parquet", tmp_path / "b.inb").present == 90


LIMITED = """
import resource, signal, sys
from inbedder_retrieval import EngineError
from inbedder_retrieval.collection.copies import copy_collection

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    copy_collection(sys.argv[1], sys.argv[2])
except EngineError as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="files are limited as on Unix")
def test_a_file_that_cannot_grow_is_an_error_and_leaves_nothing(
    archive: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", LIMITED, str(archive), str(tmp_path / "b.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "b.parquet cannot be written: " in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_missing_extra_is_named(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    for source, target in ((archive, "b.inb"), (archive, "b.parquet")):
        with pytest.raises(MissingExtraError, match=r"pip install 'inbedder-retrieval\[parquet\]'"):
            copy_collection(source, tmp_path / target)
    with (
        a_collection(":memory:", [Document("a")]) as collection,
        pytest.raises(MissingExtraError, match=r"\[parquet\]"),
    ):
        run(save_store(collection._store, tmp_path / "b.parquet"))
    assert list(tmp_path.iterdir()) == []

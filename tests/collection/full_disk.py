"""A small disk fills up while a collection is written to, and has room again.

`unshare -rm python -m tests.collection.full_disk FOLDER` mounts a disk of its own there, and fails
where a document that was acknowledged is lost, or where anything but an EngineError is raised.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from inbedder_retrieval import Document, EngineError, ViewCollection
from inbedder_retrieval.testing import FakeEmbedder
from tests.collection.killed import check_vectors

WIDE = FakeEmbedder(dimension=128)
BATCH = 250


def documents(start: int, stop: int) -> list[Document]:
    return [Document(f"{number % 7} is here", id=number) for number in range(start, stop)]


def refused(call: Callable[[], object]) -> str:
    try:
        call()
    except EngineError as error:
        return str(error)
    raise RuntimeError("the disk is full, and nothing was said of it")


def mount(folder: Path, size: str) -> None:
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if folder.is_mount():
        command[4] += ",remount"
    subprocess.run(command, check=True)


def main(folder: Path) -> None:
    folder.mkdir()
    mount(folder, "24m")
    place, ballast = folder / "c.inb", folder / "ballast"
    collection = ViewCollection.create(place, {"near": "What is it?"}, WIDE)
    stored = 0

    def add() -> None:
        nonlocal stored
        while stored < 100 * BATCH:
            collection.add(documents(stored, stored + BATCH))
            stored += BATCH

    said = [refused(add), refused(lambda: collection.add_view({"tone": "Is it polite?"}))]
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            said.append(refused(lambda: collection.rename_view("near", "far")))
    said.append(refused(lambda: collection.delete(["0"])))
    assert stored
    assert collection.views.names == ["near"]
    assert collection.get(range(stored)) == documents(0, stored)
    assert collection.search("6 is here", limit=1)[0].text == "6 is here"
    ballast.unlink()
    # There is room enough again for a deletion.
    assert collection.delete(["0"]) == 1
    collection.close()
    mount(folder, "300m")
    with ViewCollection.open(place, WIDE) as collection:
        assert collection.get(range(stored)) == documents(1, stored)
        assert collection.add(documents(0, stored + BATCH)).unchanged >= stored - 1
        assert collection.add_view({"tone": "Is it polite?"}) == stored + BATCH
        collection.rename_view("near", "far")
        assert collection.get(range(stored + BATCH)) == documents(0, stored + BATCH)
        assert collection.views.names == ["far", "tone"]
        check_vectors(collection, WIDE)
    sys.stdout.write("\n".join(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

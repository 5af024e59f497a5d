"""Many threads at once, and processes that are killed: nothing acknowledged is lost."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from inbedder_retrieval import (
    Document,
    ViewCollection,
)
from inbedder_retrieval.testing import FakeEmbedder


def test_threads_that_read_and_write_at_once_lose_nothing(collection: ViewCollection) -> None:
    errors: list[BaseException] = []
    barrier = threading.Barrier(8)

    def work(worker: int) -> None:
        try:
            barrier.wait()
            for turn in range(5):
                names = [f"{worker}-{turn}-{n}" for n in range(10)]
                rows = {"worker": worker, "turn": f"t{turn}"}
                collection.add(Document(f"text {name}", id=name, metadata=rows) for name in names)
                assert collection.delete(names[:2]) == 2
                assert [d.id for d in collection.get(names)] == names[2:]
                hits = collection.search(f"text {names[5]}", view="need", limit=1, filter=rows)
                assert [hit.id for hit in hits] == [names[5]]
                weights = {"need": 1.0, "feeling": 0.5}
                assert collection.search(f"text {names[5]}", views=weights)[0].id == names[5]
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert collection.count() == 8 * 5 * 8
    everything = [f"{w}-{t}-{n}" for w in range(8) for t in range(5) for n in range(2, 10)]
    assert [d.id for d in collection.get(everything)] == everything


ROUND = 5000
ADD = """
import sys
from inbedder_retrieval import Document, ViewCollection
from inbedder_retrieval.testing import FakeEmbedder
place, start, stop = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
collection = ViewCollection.open(place, FakeEmbedder(dimension=16))
collection.add(
    (Document(f"word{n} and", id=n, metadata={"n": n}) for n in range(start, stop)),
    progress=lambda done: print(done, flush=True),
)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_a_killed_process_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    seeded = random.Random(11)
    place = tmp_path / "c.inb"
    fake = FakeEmbedder(dimension=16)
    ViewCollection.create(place, {"need": "What is needed?"}, fake).close()
    killed = 0
    for start in range(0, 6 * ROUND, ROUND):
        command = [sys.executable, "-c", ADD, str(place), str(start), str(start + ROUND)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            heard = [process.stdout.readline() for _ in range(seeded.randint(1, 6))]
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=seeded.uniform(0, 0.02))
            process.kill()
            heard += process.stdout.readlines()
        killed += process.returncode == -signal.SIGKILL
        acknowledged = int(heard[-1])
        rows = [
            Document(f"word{n} and", id=n, metadata={"n": n}) for n in range(start, start + ROUND)
        ]
        with ViewCollection.open(place, fake) as collection:
            # Some of the batch that was being written may be there as well.
            assert start + acknowledged <= collection.count() <= start + ROUND
            assert collection.get(range(start, start + acknowledged)) == rows[:acknowledged]
            for row in seeded.sample(rows[:acknowledged], 15):
                hit = collection.search(row.text, limit=1)[0]
                assert (hit.id, hit.text, hit.metadata) == (row.id, row.text, row.metadata)
                assert hit.score == pytest.approx(1, abs=1e-5)
            report = collection.add(rows)
            assert report.unchanged >= acknowledged
            assert report.added + report.unchanged == ROUND
            assert collection.count() == start + ROUND
    with ViewCollection.open(place, fake) as collection:
        assert len(collection.get(range(6 * ROUND))) == 6 * ROUND
    assert killed >= 3

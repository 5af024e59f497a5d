"""Processes that are killed while they change a collection: what they acknowledged is there."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from inbedder_retrieval import ViewCollection
from inbedder_retrieval.collection import Findings
from inbedder_retrieval.collection.flow import run
from tests.collection.killed import (
    FAKE,
    Known,
    Step,
    check_vectors,
    do,
    some_steps,
    stored_texts,
)

# INBEDDER_KILLS=100 INBEDDER_KILL_SEED=3 kills more, at other moments.
KILLS = int(os.environ.get("INBEDDER_KILLS", "20"))
SEED = int(os.environ.get("INBEDDER_KILL_SEED", "1"))
STEPS = 12


def until_killed(folder: Path, steps: list[Step], pick: random.Random) -> tuple[int, int]:
    """Kill a process at a random moment of its steps.

    Returns how many were done, and how many documents of the next were stored.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.collection.killed", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # With it die the processes that it has started.
        start_new_session=True,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.writelines(json.dumps(step) + "\n" for step in steps)
        process.stdin.flush()
        assert process.stdout.readline() == "begun\n"
        # Any of the steps, however long the others take; of documents, after any batch.
        before = pick.randrange(len(steps))
        batches = pick.randrange(8) if steps[before][0] == "add" else 0
        heard: list[str] = []
        while heard.count("done\n") < before:
            heard.append(process.stdout.readline())
            assert heard[-1], "it ended by itself"
        while batches and heard.count("done\n") == before:
            heard.append(process.stdout.readline())
            batches -= 1
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=pick.uniform(0, 0.05))
        assert process.poll() is None, "it ended by itself"
        os.killpg(process.pid, signal.SIGKILL)
        heard += process.stdout.readlines()
    done = [number for number, line in enumerate(heard, 1) if line == "done\n"]
    after = heard[done[-1] if done else 0 :]
    stored = [int(line.split()[1]) for line in after if line.startswith("stored")]
    return len(done), max(stored, default=0)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="processes are killed as POSIX does it")
def test_what_a_killed_process_acknowledged_is_there_and_the_same_call_goes_on(
    tmp_path: Path,
) -> None:
    pick = random.Random(SEED)
    folder = tmp_path / "c.inb"
    known = Known()
    ViewCollection.create(folder, known.views, FAKE).close()
    killed: list[str] = []
    kills = 0
    # Which steps are met is up to the machine: it goes on until there are several kinds.
    while kills < KILLS or (len(set(killed)) < min(4, KILLS / 4) and kills < 4 * KILLS):
        kills += 1
        steps = some_steps(pick, known, STEPS)
        done, stored = until_killed(folder, steps, pick)
        for step in steps[:done]:
            known = known.after(step)
        with ViewCollection.open(folder, FAKE) as collection:
            now = stored_texts(collection)
            check_vectors(collection)
            if done < len(steps):
                step = steps[done]
                killed.append(step[0])
                safe = ("add", step[1][:stored]) if step[0] == "add" else ("", None)
                least, most = known.after(safe), known.after(step)
                # What the step had not acknowledged is as before, or as it is to be.
                for name in least.texts.keys() | most.texts.keys():
                    assert now.get(name) in (least.texts.get(name), most.texts.get(name))
                do(collection, step)
                known = most
            assert stored_texts(collection) == known.texts
            assert {view.name: view.instruction for view in collection.views} == known.views
            check_vectors(collection)
            registry = run(collection._store.refresh())
            assert {record.state for record in registry.written} == {"ready"}
            assert not registry.dropped
            # It may have died between making a vector and listing it, and nowhere else.
            found = collection.check()
            assert found == Findings(documents=len(known.texts), orphans=found.orphans)
            assert collection.repair(found, delete=True).clean
            vectors = {record.vector: record.dimension for record in registry.written}
            assert run(collection._store.engine.vectors()) == vectors
        assert {path.name for path in folder.iterdir()} == {".lock", "registry.json", "shard"}
    assert len(killed) > kills / 2
    assert len(set(killed)) >= min(4, KILLS / 4)

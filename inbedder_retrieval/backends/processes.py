"""Several devices: one process each, fed with packed batches.

Python runs one thread at a time, so one process cannot keep several accelerators busy. Texts are
tokenized and packed here; the processes hold a copy of the model each and return vectors.

Processes are spawned: a script that uses this must guard its start with
`if __name__ == "__main__":`, as Python's multiprocessing asks for.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from inbedder_retrieval.backends import Options, Runtime, load_backend
from inbedder_retrieval.checkpoint import Checkpoint
from inbedder_retrieval.errors import DeviceError, InbedderError
from inbedder_retrieval.packing import PackedBatch

__all__ = ["ProcessBackend"]

# Batches in work in one process: one is computed while the other is sent or fetched.
LINES = 2


class ProcessBackend:
    """Runs batches on several devices at a time.

    Args:
        options: a process is started for each of its devices, which are parted by commas.

    Raises:
        DeviceError: a process did not start.
        InputError, CheckpointError, MissingExtraError: as the backend raises in the process.
    """

    def __init__(
        self,
        name: str,
        checkpoint: Checkpoint,
        options: Options,
    ) -> None:
        devices = options.device.split(",")
        context = multiprocessing.get_context("spawn")
        self._free: queue.SimpleQueue[tuple[str, Connection]] = queue.SimpleQueue()
        lines: list[tuple[str, Connection]] = []
        for device in devices:
            ends = [context.Pipe() for _ in range(LINES)]
            own = replace(options, device=device)
            arguments = ([theirs for _, theirs in ends], name, checkpoint, own)
            process = context.Process(target=_serve, args=arguments, daemon=True)
            process.start()
            for ours, theirs in ends:
                # Only the process holds its end, so that its death is seen here.
                theirs.close()
                lines.append((device, ours))
        self._owner = os.getpid()
        runtimes: list[Runtime] = [_answer(device, line) for device, line in lines[::LINES]]
        for one in lines:
            self._free.put(one)
        self.runtime = replace(
            runtimes[0],
            device=",".join(devices),
            threads=sum(runtime.threads for runtime in runtimes),
            workers=len(lines),
        )

    def run(self, batch: PackedBatch) -> NDArray[np.float32]:
        """Return the vectors (B, V, H) of a batch, computed by the next process that is free.

        Raises:
            DeviceError: the process is gone, or this one was forked from the one that has it.
        """
        if os.getpid() != self._owner:
            # Answers would go to whichever of the two processes reads first.
            raise DeviceError(
                f"this Embedder was made before a fork, and its processes for "
                f"{self.runtime.device} belong to the process that made it; make one here"
            )
        device, line = self._free.get()
        try:
            line.send(batch)
            return cast("NDArray[np.float32]", _answer(device, line))
        except OSError as error:
            raise DeviceError(_gone(device)) from error
        except KeyboardInterrupt:
            # What is still to come would be taken for the answer to the next batch.
            line.close()
            raise
        finally:
            self._free.put((device, line))


def _answer(device: str, line: Connection) -> Any:
    try:
        answer = line.recv()
    except EOFError as error:
        raise DeviceError(_gone(device)) from error
    if isinstance(answer, Exception):
        raise answer
    return answer


def _gone(device: str) -> str:
    return (
        f"the process that ran {device} has ended, perhaps for want of memory; make a new "
        "Embedder, with a lower token_budget"
    )


def _serve(
    lines: list[Connection],
    name: str,
    checkpoint: Checkpoint,
    options: Options,
) -> None:
    """Load a backend and answer batches, each line in a thread, until the lines are closed."""
    # A terminal interrupts all processes; whether to go on is for the one that asks to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        backend = load_backend(name, checkpoint, options)
    except InbedderError as error:
        lines[0].send(error)
        return
    except Exception as error:
        lines[0].send(DeviceError(f"{options.device} failed to load {checkpoint.name}: {error!r}"))
        return
    lines[0].send(backend.runtime)

    def answer(line: Connection) -> None:
        while True:
            try:
                batch = line.recv()
            except (EOFError, OSError):
                return
            try:
                line.send(backend.run(batch))
            except InbedderError as error:
                line.send(error)
            except Exception as error:
                # Not every exception can be sent.
                line.send(DeviceError(f"{options.device} failed: {error!r}"))

    served = [threading.Thread(target=answer, args=(line,), daemon=True) for line in lines]
    for thread in served:
        thread.start()
    for thread in served:
        thread.join()

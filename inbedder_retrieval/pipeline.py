"""A bounded pipeline over a stream: the next items are begun while the first is still in work."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Run", "Workers", "pipelined", "runs"]

Item = TypeVar("Item")
Begun = TypeVar("Begun")
Result = TypeVar("Result")
# While one item is finished, the next is ready to be begun.
AHEAD = 2


@dataclass(frozen=True)
class Run:
    """Texts `start` to `stop` in work: their vectors (V, N, H), and the batches that fill them."""

    start: int
    stop: int
    vectors: NDArray[np.float32]
    futures: list[Future[None]]
    truncated: list[int]
    empty: list[int]

    def wait(self) -> None:
        """Return when the vectors are whole, or raise what a batch raised."""
        try:
            for future in self.futures:
                future.result()
        except BaseException:
            self.cancel()
            raise

    def cancel(self) -> None:
        """Give up the batches that are not begun."""
        for future in self.futures:
            future.cancel()


class Workers:
    """Threads that take calls in order, in this process and in what it is forked into."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._start()

    def submit(self, call: Callable[[], Result]) -> Future[Result]:
        """Hand over a call; where no thread can be started, it is done before this returns."""
        if self._process != os.getpid():
            # A forked process has none of its parent's threads.
            self._start()
        try:
            return self._pool.submit(call)
        except RuntimeError:
            # The interpreter is ending, and a thread of the user's goes on.
            done: Future[Result] = Future()
            try:
                done.set_result(call())
            except Exception as error:
                done.set_exception(error)
            return done

    def _start(self) -> None:
        self._pool = ThreadPoolExecutor(self._count, thread_name_prefix="inbedder")
        self._process = os.getpid()


def runs(items: Iterable[Item], size: int) -> Iterator[tuple[int, list[Item]]]:
    """Yield items `size` at a time, each run with the number of its first item."""
    stream = iter(items)
    first = 0
    while run := list(itertools.islice(stream, size)):
        yield first, run
        first += len(run)


def pipelined(
    items: Iterator[Item],
    begin: Callable[[Item], Begun],
    cancel: Callable[[Begun], None],
) -> Iterator[Begun]:
    """Begin items in order, `AHEAD` of them before the first is yielded.

    Args:
        begin: starts the work on an item and returns without waiting for it.
        cancel: gives up work that was begun; called for what nobody will fetch.

    Raises what `items` or `begin` raise, after all that was begun before it has been yielded.
    """
    begun: deque[Begun] = deque()
    failure: Exception | None = None
    more = True
    try:
        while True:
            while more and len(begun) < AHEAD:
                try:
                    for item in itertools.islice(items, 1):
                        begun.append(begin(item))
                        break
                    else:
                        more = False
                except Exception as error:
                    failure, more = error, False
            if not begun:
                break
            yield begun.popleft()
        if failure is not None:
            raise failure
    finally:
        for work in begun:
            cancel(work)

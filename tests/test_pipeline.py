from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import Future

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inbedder_retrieval.pipeline import Run, Workers, pipelined, runs


class Broken(Exception):
    pass


def run_python(code: str) -> str:
    """Run a program of its own and return what it prints."""
    # Forking beside threads is deprecated since Python 3.12, and still what servers do.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert not done.stderr
    return done.stdout


class Line:
    """What was begun and what was given up, in order."""

    def __init__(self, *, broken: int | None = None) -> None:
        self.begun: list[int] = []
        self.cancelled: list[int] = []
        self._broken = broken

    def begin(self, item: int) -> int:
        if item == self._broken:
            raise Broken(item)
        self.begun.append(item)
        return item * 10

    def cancel(self, begun: int) -> None:
        self.cancelled.append(begun)

    def over(self, items: Iterator[int]) -> Iterator[int]:
        return pipelined(items, self.begin, self.cancel)


def drained(results: Iterator[int]) -> tuple[list[int], Exception | None]:
    """Fetch until the end or the first error."""
    found: list[int] = []
    try:
        for result in results:
            found.append(result)
    except Broken as error:
        return found, error
    return found, None


def broken_after(count: int) -> Iterator[int]:
    yield from range(count)
    raise Broken(count)


@given(items=st.lists(st.integers()), size=st.integers(1, 5))
def test_runs_are_of_one_size_and_know_their_first_item(items: list[int], size: int) -> None:
    found = list(runs(iter(items), size))
    assert [item for _, run in found for item in run] == items
    assert [first for first, _ in found] == list(range(0, len(items), size))
    assert all(len(run) == size for _, run in found[:-1])


def test_results_come_in_order_and_none_is_given_up() -> None:
    line = Line()
    assert list(line.over(iter(range(5)))) == [0, 10, 20, 30, 40]
    assert (line.begun, line.cancelled) == ([0, 1, 2, 3, 4], [])


def test_nothing_is_begun_before_it_is_asked_for() -> None:
    line = Line()
    line.over(iter(range(5)))
    assert line.begun == []


def test_at_most_two_are_begun_and_not_fetched() -> None:
    line = Line()
    for fetched, _ in enumerate(line.over(iter(range(6)))):
        assert len(line.begun) == min(fetched + 2, 6)


def test_nothing_gives_nothing() -> None:
    line = Line()
    assert list(line.over(iter([]))) == []
    assert (line.begun, line.cancelled) == ([], [])


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_an_error_of_the_items_comes_after_all_before_it(count: int) -> None:
    line = Line()
    fetched, error = drained(line.over(broken_after(count)))
    assert (fetched, str(error)) == ([0, 10, 20][:count], str(count))
    assert line.cancelled == []


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_an_error_of_the_work_comes_after_all_before_it_and_ends_it(broken: int) -> None:
    line = Line(broken=broken)
    fetched, error = drained(line.over(iter(range(5))))
    assert (fetched, str(error)) == ([0, 10][:broken], str(broken))
    assert (line.begun, line.cancelled) == (list(range(broken)), [])


def test_work_that_stops_an_iteration_is_not_taken_for_the_end() -> None:
    def begin(item: int) -> int:
        raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration"):
        list(pipelined(iter([1, 2]), begin, lambda _: None))


def test_what_is_abandoned_is_given_up() -> None:
    line = Line()
    results = line.over(iter(range(5)))
    assert [next(results), next(results)] == [0, 10]
    del results
    assert (line.begun, line.cancelled) == ([0, 1, 2], [20])


def test_an_interrupt_while_items_are_read_is_raised_at_once() -> None:
    def items() -> Iterator[int]:
        yield from range(2)
        raise KeyboardInterrupt

    line = Line()
    results = line.over(items())
    assert next(results) == 0
    with pytest.raises(KeyboardInterrupt):
        next(results)
    assert line.cancelled == [10]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_what_is_left_of_a_broken_run_is_given_up(error: type[BaseException]) -> None:
    """Or it would be computed for nobody, and before all that is asked next."""
    first, waiting = Future[None](), Future[None]()
    first.set_exception(error())
    run = Run(0, 2, np.zeros((1, 2, 3), dtype=np.float32), [first, waiting], [], [])
    with pytest.raises(error):
        run.wait()
    assert waiting.cancelled()


def test_workers_run_calls_beside_the_caller_and_pass_errors_on() -> None:
    workers = Workers(1)
    names: list[str] = []

    def fail() -> None:
        raise Broken("here")

    workers.submit(lambda: names.append(threading.current_thread().name)).result()
    assert names[0].startswith("inbedder")
    with pytest.raises(Broken, match="here"):
        workers.submit(fail).result()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_has_workers_of_its_own() -> None:
    """It inherits the pool, and none of the threads that would work."""
    run_python("""
        import os, sys
        from inbedder_retrieval.pipeline import Workers

        workers = Workers(1)
        workers.submit(lambda: None).result(timeout=30)
        child = os.fork()
        if child == 0:
            done = []
            try:
                workers.submit(lambda: done.append(1)).result(timeout=30)
            finally:
                os._exit(0 if done else 1)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """)


def test_a_thread_that_outlives_the_main_one_is_served() -> None:
    """No pool of threads takes calls any more once the main thread has ended."""
    printed = run_python("""
        import threading
        from inbedder_retrieval.pipeline import Workers

        def fail() -> None:
            raise ValueError("here")

        def work() -> None:
            threading.main_thread().join()
            workers.submit(lambda: print("served")).result(timeout=30)
            print(repr(workers.submit(fail).exception(timeout=30)))

        workers = Workers(2)
        threading.Thread(target=work).start()
    """)
    assert printed.split("\n")[:2] == ["served", "ValueError('here')"]

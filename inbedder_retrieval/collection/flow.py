"""Flows: what a collection does is written once, as coroutines, and run in either of two ways.

A coroutine over an engine that answers at once never waits: `run` takes it from its first line to
its last in the calling thread. The same coroutine over an engine that awaits its server is awaited
by an event loop. So there is one search and one backfill, not a second copy for asyncio.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["run"]

Result = TypeVar("Result")


def run(flow: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine that waits for nothing and return what it returns.

    Raises:
        RuntimeError: it waits for something, which only an event loop can do.
    """
    try:
        flow.send(None)
    except StopIteration as done:
        result: Result = done.value
        return result
    flow.close()
    raise RuntimeError("a flow over a blocking engine must not wait for anything")

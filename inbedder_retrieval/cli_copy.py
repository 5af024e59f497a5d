"""`inbedder copy`: a collection goes from one location to another, or into a file and out of it."""

from __future__ import annotations

import shlex
import time

from inbedder_retrieval import options
from inbedder_retrieval.collection.copies import copy_collection
from inbedder_retrieval.console import counted, print_json, progress_bar, remark, say

__all__ = ["copy"]


def copy(
    source: options.CopySource, target: options.CopyTarget, as_json: options.Json = False
) -> None:
    """Copy a collection, vectors included, or export it to .parquet."""
    start = time.perf_counter()
    with progress_bar("copying", 0, quiet=as_json) as progress:
        report = copy_collection(source, target, progress=progress)
    seconds = time.perf_counter() - start
    if as_json:
        print_json(report.model_dump() | {"seconds": seconds})
        return
    done = {
        "copied": report.written,
        "there already": report.present,
        "removed": report.removed,
    }
    said = ", ".join(f"{count} {what}" for what, count in done.items() if count or what == "copied")
    say(f"{said} in {seconds:.1f} s")
    say(
        f"{target} holds {counted(report.documents, 'document')} under "
        f"{', '.join(report.views)}, and so does {source}."
    )
    for name in report.building:
        command = shlex.join(["inbedder", "views", "list", target])
        remark(f"view {name!r} is not finished there either; add it again (see {command})")
    for name in report.left_out:
        remark(f"view {name!r} is being rebuilt; the copy has it as it was")

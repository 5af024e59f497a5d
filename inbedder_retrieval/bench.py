"""The figures users can repeat: `python -m inbedder_retrieval.bench`.

Everything is measured in one run on the same texts, in turns, and given as the median of several
repeats: on a shared machine only ratios within a run mean anything. Memory is measured in
processes of their own, since a process never gives its peak back.
"""

from __future__ import annotations

import argparse
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer

from inbedder_retrieval.checkpoint import DEFAULT_MODEL, find_checkpoint
from inbedder_retrieval.demo import demo_documents
from inbedder_retrieval.embedder import Embedder
from inbedder_retrieval.views import View, Views

__all__ = ["BenchReport", "Speed", "measure", "texts_of_length"]

QUESTIONS = Views(
    [
        View("product", "Which product is it about?"),
        View("feeling", "How does the customer feel?"),
        View("need", "What does the customer need?"),
        View("topic", "What is the topic?"),
        View("kind", "What kind of message is it?"),
        View("urgency", "How urgent is it?"),
        View("part", "Which part is mentioned?"),
        View("writer", "Who is writing?"),
    ]
)
TEXT_TOKENS = 128


class Speed(BaseModel):
    """How fast one contender was: the median of the repeats, and what follows from it."""

    texts: int
    views: int
    seconds: float

    @property
    def texts_per_second(self) -> float:
        return self.texts / self.seconds

    @property
    def views_per_second(self) -> float:
        return self.texts * self.views / self.seconds


class BenchReport(BaseModel):
    """What one run measured.

    Attributes:
        ours: by number of views.
        peers: plain transformers loops over the same texts and questions; empty without torch.
        peak_mib: peak memory in MiB of a process that streams so many texts under 8 views.
    """

    machine: str
    tokens_per_text: int
    repeats: int
    ours: dict[int, Speed]
    peers: dict[str, Speed]
    peak_mib: dict[int, float]

    @property
    def cost_of_all_views(self) -> float:
        """What all views cost, in times of what one view costs."""
        return self.ours[len(QUESTIONS)].seconds / self.ours[1].seconds


def texts_of_length(tokenizer: Tokenizer, count: int, tokens: int) -> list[str]:
    """Make `count` different texts of `tokens` tokens, [CLS] and [SEP] included, from the demo."""
    stream = _words()
    texts: list[str] = []
    while len(texts) < count:
        words: list[str] = []
        room = tokens - 2
        while room:
            word = next(stream)
            pieces = len(tokenizer.encode(word, add_special_tokens=False).ids)
            # A word that is too long for what is left gives way to a single-piece one.
            words.append(word if pieces <= room else "the")
            room -= pieces if pieces <= room else 1
        texts.append(" ".join(words))
    return texts


def measure(*, texts: int = 64, repeats: int = 5, memory_texts: int = 4096) -> BenchReport:
    """Measure throughput beside plain transformers loops, and memory while streaming.

    The loops get an eighth of the texts, since they are slow; what is compared is views a second.
    """
    embedder = Embedder()
    corpus = texts_of_length(find_checkpoint(DEFAULT_MODEL).tokenizer(), texts, TEXT_TOKENS)
    few = corpus[: max(1, texts // 8)]
    runs: dict[str, tuple[int, int, Callable[[], object]]] = {
        str(count): (texts, count, partial(embedder.embed, corpus, QUESTIONS[:count]))
        for count in (1, len(QUESTIONS))
    }
    if (loop := _transformers_loop()) is not None:
        for batch in (1, 32):
            name = f"transformers, batches of {batch}"
            runs[name] = (len(few), len(QUESTIONS), partial(loop, few, batch))
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, (_, _, run) in runs.items():
            start = time.perf_counter()
            run()
            if turn:  # The first turn warms caches and threads.
                times[name].append(time.perf_counter() - start)
    speeds = {
        name: Speed(texts=count, views=views, seconds=statistics.median(times[name]))
        for name, (count, views, _) in runs.items()
    }
    return BenchReport(
        machine=_machine(),
        tokens_per_text=TEXT_TOKENS,
        repeats=repeats,
        ours={speed.views: speed for name, speed in speeds.items() if name.isdigit()},
        peers={name: speed for name, speed in speeds.items() if not name.isdigit()},
        peak_mib={count: _peak_memory(count) for count in (memory_texts // 8, memory_texts)},
    )


def _words() -> Iterator[str]:
    while True:
        for document in demo_documents():
            yield from document.text.split()


def _transformers_loop() -> Callable[[list[str], int], object] | None:
    """Return a plain float32 loop, one prompt a text and question, mean pooling.

    None where torch is not installed.
    """
    try:
        import torch
        import transformers
    except ImportError:
        return None
    folder = find_checkpoint(DEFAULT_MODEL).folder
    # The head is not loaded, and the library says so at length.
    logging: Any = transformers.utils.logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()

    @torch.inference_mode()
    def loop(texts: list[str], batch: int) -> object:
        prompts = [f"{text} {view.instruction}" for text in texts for view in QUESTIONS]
        vectors = []
        for start in range(0, len(prompts), batch):
            tokens = tokenizer(prompts[start : start + batch], padding=True, return_tensors="pt")
            states = model(**tokens).last_hidden_state
            mask = tokens["attention_mask"][..., None]
            vectors.append((states * mask).sum(1) / mask.sum(1))
        return torch.cat(vectors)

    return loop


def _machine() -> str:
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text().splitlines()
        models = [line.partition(":")[2].strip() for line in lines if "model name" in line]
        name = f"{len(models)} x {models[0]}" if models else name
    return f"{name}, {platform.system()}, Python {platform.python_version()}"


def _peak_memory(count: int) -> float:
    command = [sys.executable, "-m", "inbedder_retrieval.bench", "--stream", str(count)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def _stream(count: int) -> float:
    """Embed a stream of texts, dropping each batch, and return this process's peak in MiB."""
    embedder = Embedder()
    stream = _words()
    texts = (" ".join(next(stream) for _ in range(60)) for _ in range(count))
    for batch in embedder.embed_batches(texts, QUESTIONS):
        del batch
    status = Path("/proc/self/status")
    if status.is_file():
        # Not ru_maxrss: a child inherits that from the process that started it.
        peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if peak is not None:
            return int(peak.group(1)) / 1024
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1024 * 1024 if sys.platform == "darwin" else 1024)


def _show(report: BenchReport, console: Console) -> None:
    console.print(f"{report.machine}; texts of {report.tokens_per_text} tokens")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    for column in ("texts/s", "views/s", "inbedder is"):
        table.add_column(column, justify="right")
    best = report.ours[len(QUESTIONS)].views_per_second
    for count, speed in report.ours.items():
        table.add_row(f"inbedder, int8, {count} view{'s' * (count > 1)}", *_cells(speed), "")
    for name, speed in report.peers.items():
        ratio = f"{best / speed.views_per_second:.1f} x as fast"
        table.add_row(f"{name}, {speed.views} views", *_cells(speed), ratio)
    console.print(table)
    console.print(
        f"{len(QUESTIONS)} views cost {report.cost_of_all_views:.2f} times what 1 view costs"
    )
    for count, peak in report.peak_mib.items():
        console.print(f"streaming {count:>6,} texts peaks at {peak:,.0f} MiB")


def _cells(speed: Speed) -> tuple[str, str]:
    return f"{speed.texts_per_second:,.0f}", f"{speed.views_per_second:,.0f}"


def main() -> None:
    """Run the benchmark and print it, or write it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m inbedder_retrieval.bench")
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    parser.add_argument("--stream", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stream is not None:
        sys.stdout.write(f"{_stream(options.stream)}\n")
        return
    report = measure(texts=options.texts, repeats=options.repeats)
    if options.json is not None:
        options.json.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    _show(report, Console(highlight=False))


if __name__ == "__main__":
    main()

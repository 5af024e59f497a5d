from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from inbedder_retrieval.bench import machine as machine_module
from inbedder_retrieval.bench.machine import device_peak_mib, peak_mib, this_machine


def test_a_machine_is_described_in_words() -> None:
    machine = this_machine()
    assert machine.versions["numpy"] == np.__version__
    assert machine.accelerator is None
    assert 1 <= machine.cores <= (os.cpu_count() or 1)
    assert machine.processor in str(machine)


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        (
            "model name\t: Some CPU\nflags\t\t: fpu avx2 avx512f avx512_vnni\n",
            "Some CPU (AVX2, AVX-512, AVX512-VNNI), ",
        ),
        ("model name\t: Some CPU\nflags\t\t: fpu sse2\n", "Some CPU, "),
        ("Features\t: fp asimd asimddp i8mm\n", " (NEON dot products, I8MM), "),
    ],
)
def test_a_machine_says_which_instructions_it_has(
    told: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_module, "_cpuinfo", lambda: told)
    assert wanted in str(this_machine())


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="reads Linux's own figure")
def test_the_peak_is_at_least_what_is_held_now() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    held = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    # The kernel counts pages a thread at a time, and is behind by some.
    assert held * 0.99 <= peak_mib() < held * 100


def test_a_cpu_has_no_memory_of_a_device() -> None:
    assert device_peak_mib("cpu") is None

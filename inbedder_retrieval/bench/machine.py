"""The machine: what it is called, what is installed on it, and the memory of this process.

Nothing here loads an engine: versions are read from what the packages say of themselves, and a
GPU is asked for its name only where torch is loaded already.
"""

from __future__ import annotations

import math
import os
import platform
import re
import sys
from importlib import metadata
from pathlib import Path

from pydantic import BaseModel

__all__ = ["Machine", "device_peak_mib", "peak_mib", "this_machine"]

PACKAGES = (
    "inbedder-retrieval",
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "tokenizers",
    "torch",
    "transformers",
    "sentence-transformers",
)
# What int8 and short floats are multiplied with, by what Linux calls it.
INSTRUCTIONS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX512-VNNI",
    "avx512_bf16": "AVX512-BF16",
    "amx_int8": "AMX-INT8",
    "asimddp": "NEON dot products",
    "i8mm": "I8MM",
}


class Machine(BaseModel):
    """A machine, in words.

    Attributes:
        cores: logical cores that this process may use.
        accelerator: the name of the GPU; None on the CPU.
        versions: of the packages that are installed, by name.
        instructions: the vector instructions it has, of those that decide how fast int8 is; a
            processor's name may hide them. Empty where the system does not tell.
    """

    processor: str
    cores: int
    accelerator: str | None
    system: str
    python: str
    versions: dict[str, str]
    instructions: tuple[str, ...] = ()

    def __str__(self) -> str:
        cores = f"{self.cores} core" + "s" * (self.cores > 1)
        has = f" ({', '.join(self.instructions)})" if self.instructions else ""
        where = f"{cores} of {self.processor}{has}, {self.system}"
        return f"{self.accelerator}, {where}" if self.accelerator else where


def this_machine(device: str = "cpu") -> Machine:
    """Describe this machine, and its GPU where `device` is one."""
    return Machine(
        processor=_processor(),
        cores=_cores(),
        accelerator=None if device == "cpu" else _accelerator(device),
        system=platform.system(),
        python=platform.python_version(),
        versions=_versions(),
        instructions=_instructions(),
    )


def peak_mib() -> float:
    """Return the most memory this process has held so far, in MiB; NaN where none tells."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Not ru_maxrss: a child inherits that from the process that started it.
        peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if peak is not None:
            return int(peak.group(1)) / 1024
    if sys.platform == "win32":
        return math.nan
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1024 * 1024 if sys.platform == "darwin" else 1024)


def device_peak_mib(device: str) -> float | None:
    """Return the most memory torch has held on a GPU in this process, in MiB.

    None on the CPU, and where torch was not loaded: what onnxruntime holds there is not known.
    """
    torch = sys.modules.get("torch")
    if device == "cpu" or torch is None or not torch.cuda.is_available():
        return None
    return float(torch.cuda.max_memory_allocated(device)) / 2**20


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    if found is not None:
        return found.group(1).strip()
    return platform.processor() or platform.machine()


def _instructions() -> tuple[str, ...]:
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    has = found.group(1).split() if found is not None else []
    return tuple(name for flag, name in INSTRUCTIONS.items() if flag in has)


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.is_file() else ""


def _cores() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _accelerator(device: str) -> str:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return device
    return str(torch.cuda.get_device_name(device))


def _versions() -> dict[str, str]:
    versions: dict[str, str] = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions

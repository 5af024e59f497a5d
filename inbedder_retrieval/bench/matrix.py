"""The matrix peak: how many operations a second a device does where nothing but a product is asked.

Two operations for each multiplication with its addition. Measured with random numbers, since some
devices are faster on zeros, in the precision a model runs in and with the libraries at hand; it is
what this machine shows, not what its maker states.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime

from inbedder_retrieval.errors import MissingExtraError

__all__ = ["matrix_peak"]

# Rows, inner width, columns: flat from here on, on machines of 2 to 16 cores.
CPU_SHAPES = ((1024, 1024, 1024), (512, 4096, 1024))
CUDA_SIZE = 8192
REPEATS = 9


def matrix_peak(device: str, precision: str, *, threads: int | None = None) -> float | None:
    """Measure the operations a second of large matrix products: the fastest of what is at hand.

    Takes about a second.

    Args:
        device: `cpu` or a CUDA device.
        precision: `int8` (unsigned by signed, as quantised models run), `float32`, `bfloat16` or
            `float16`.
        threads: of the CPU; None lets the libraries choose.

    Returns:
        Operations a second, or None where no library at hand multiplies in that precision there.

    Raises:
        MissingExtraError: the packages to measure it with are not installed.
    """
    if device != "cpu":
        return None if precision == "int8" else _cuda_peak(device, precision)
    if precision == "int8":
        return max(_onnx_rate("MatMulInteger", shape, threads) for shape in CPU_SHAPES)
    if precision == "float32":
        rates = [_numpy_rate(CPU_SHAPES[0])]
        rates += [_onnx_rate("MatMul", shape, threads) for shape in CPU_SHAPES]
        return max(rates)
    return max(_torch_rate(precision, shape) for shape in CPU_SHAPES)


def _rate(shape: tuple[int, int, int], run: Callable[[], object]) -> float:
    run()
    seconds: list[float] = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return 2.0 * shape[0] * shape[1] * shape[2] / statistics.median(seconds)


def _onnx_rate(operator: str, shape: tuple[int, int, int], threads: int | None) -> float:
    """Measure a graph of one product, whose second factor is constant as a layer's weights are."""
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("measuring the matrix peak", "bench") from error
    helper, kinds = onnx.helper, onnx.TensorProto
    rows, inner, columns = shape
    random = np.random.default_rng(0)
    left: Any
    right: Any
    if operator == "MatMulInteger":
        left = random.integers(0, 256, (rows, inner), dtype=np.uint8)
        right = random.integers(-127, 128, (inner, columns), dtype=np.int8)
        given, found = kinds.UINT8, kinds.INT32
    else:
        left = random.standard_normal((rows, inner), dtype=np.float32)
        right = random.standard_normal((inner, columns), dtype=np.float32)
        given = found = kinds.FLOAT
    graph = helper.make_graph(
        [helper.make_node(operator, ["left", "right"], ["product"])],
        "product",
        [helper.make_tensor_value_info("left", given, [rows, inner])],
        [helper.make_tensor_value_info("product", found, [rows, columns])],
        [onnx.numpy_helper.from_array(right, "right")],
    )
    # Older than any runtime this package accepts.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return _rate(shape, lambda: session.run(["product"], {"left": left}))


def _numpy_rate(shape: tuple[int, int, int]) -> float:
    random = np.random.default_rng(0)
    left = random.standard_normal(shape[:2], dtype=np.float32)
    right = random.standard_normal(shape[1:], dtype=np.float32)
    return _rate(shape, lambda: left @ right)


def _torch_rate(precision: str, shape: tuple[int, int, int]) -> float:
    torch = _torch()
    dtype = getattr(torch, precision)
    left, right = torch.randn(shape[:2]).to(dtype), torch.randn(shape[1:]).to(dtype)
    return _rate(shape, lambda: left @ right)


def _cuda_peak(device: str, precision: str) -> float:
    torch = _torch()
    dtype = getattr(torch, precision)
    with torch.cuda.device(torch.device(device)):
        left, right = (
            torch.randn(CUDA_SIZE, CUDA_SIZE, device=device, dtype=torch.float32).to(dtype)
            for _ in range(2)
        )
        seconds: list[float] = []
        for turn in range(REPEATS + 3):
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            torch.mm(left, right)
            stop.record()
            stop.synchronize()
            if turn >= 3:  # The first ones choose a kernel and raise the clock.
                seconds.append(start.elapsed_time(stop) / 1000)
    return 2.0 * CUDA_SIZE**3 / statistics.median(seconds)


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("measuring the matrix peak", "bench") from error
    return torch

"""ONNX: export, INT8 and sessions, the same for every model family."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnxruntime

from ecomrec.errors import InputError


def export(model, arguments: tuple, path: Path, inputs: list[str], outputs: list[str], dynamic_axes: dict[str, dict[int, str]]) -> None:
    """Writes the torch `model` as ONNX (opset 17) with the named dynamic axes."""
    import torch

    model.eval()
    # The TorchScript exporter: it keeps dynamic batch and length for BERT-like models, and takes 2 s (design, pitfalls).
    torch.onnx.export(model, arguments, str(path), input_names=inputs, output_names=outputs, dynamic_axes=dynamic_axes,
                      opset_version=17, dynamo=False)


def int8(source: Path, target: Path) -> None:
    """Dynamic INT8 quantisation of the weights of `source` (FP32 ONNX), per channel."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _silent():
        quantize_dynamic(str(source), str(target), weight_type=QuantType.QInt8, per_channel=True)


def static_int8(source: Path, target: Path, batches: list[dict[str, np.ndarray]], left_float: list[str] | None = None) -> None:
    """Static INT8 quantisation of `source` (FP32 ONNX): weights per channel, activations by the ranges they had over `batches`.

    left_float: names of nodes that stay as they are. Raises InputError for fewer than 8 batches: ranges of so few texts are chance.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    if len(batches) < 8:
        raise InputError(f"{len(batches)} batches to calibrate static quantisation, at least 8 are needed", "load more days, or ask for dynamic INT8")

    class Reader(CalibrationDataReader):
        def __init__(self):
            self._left = iter(batches)

        def get_next(self):
            return next(self._left, None)

    prepared = target.with_suffix(".prepared.onnx")
    with _silent():
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(str(prepared), str(target), Reader(), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8,
                        weight_type=QuantType.QInt8, nodes_to_exclude=left_float or [], op_types_to_quantize=["MatMul", "Gemm"], extra_options={"MatMulConstBOnly": True})
    prepared.unlink()


@contextmanager
def _silent() -> Iterator[None]:
    """Inside, the quantiser's notes on tensors that it leaves alone are not logged: the variant's own figures say what it did."""
    logger, before = logging.getLogger(), logging.getLogger().level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def quantise(path: Path, kind: str, batches: Callable[[], list[dict[str, np.ndarray]]]) -> None:
    """Replaces the FP32 ONNX at `path` by its INT8: "dynamic", or "static" by the ranges over `batches()`; "" leaves it as it is."""
    if not kind:
        return
    if kind not in ("dynamic", "static"):
        raise InputError(f'int8 = "{kind}"', 'write "dynamic" or "static"')
    source = path.with_suffix(".float.onnx")
    path.rename(source)
    if kind == "static":
        static_int8(source, path, batches())
    else:
        int8(source, path)
    source.unlink()


def session(path: Path, threads: int = 0) -> onnxruntime.InferenceSession:
    """An inference session on the GPU when ONNX Runtime finds one, else on `threads` CPU cores (0: all)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # a missing GPU is no news on a CPU machine
    # The GPU build offers CUDA everywhere, and complains where there is no driver.
    gpu = Path("/proc/driver/nvidia").exists() and "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"] if gpu else ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(str(path), options, providers=providers)

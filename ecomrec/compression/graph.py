"""ONNX: export, INT8, FP16 and sessions, the same for every model family."""

import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
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


# x86 without VNNI adds 8-bit products in 16 bits, which overflow unless weights keep to 7 bits (ONNX Runtime's documentation of quantisation,
# "reduce_range"). A model may serve on another machine than made it, so they keep to 7 bits everywhere.
SEVEN_BITS = True


def int8(source: Path, target: Path) -> None:
    """Dynamic INT8 quantisation of the weights of `source` (FP32 ONNX), per channel."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _silent():
        quantize_dynamic(str(source), str(target), weight_type=QuantType.QInt8, per_channel=True, reduce_range=SEVEN_BITS)


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
                        weight_type=QuantType.QInt8, reduce_range=SEVEN_BITS, nodes_to_exclude=left_float or [], op_types_to_quantize=["MatMul", "Gemm"], extra_options={"MatMulConstBOnly": True})
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


def sensitive(source: Path, batches: list[dict[str, np.ndarray]], most: int, folder: Path) -> list[str]:
    """The matrix products of the `most` layers that change the answers most when they alone are quantised (relative L2 distance over
    the first batches): what static quantisation should leave in float."""
    import onnx

    products = [node.name for node in onnx.load(str(source)).graph.node if node.op_type in ("MatMul", "Gemm")]
    groups: dict[str, list[str]] = {}
    for name in products:
        found = re.search(r"(?:layer|layers|blocks)\.\d+", name)
        groups.setdefault(found.group() if found else name, []).append(name)
    probes = batches[:8]
    expected, damage, tried = [session(source, 0).run(None, given) for given in probes], {}, folder / "sensitive.onnx"
    for group, names in groups.items():
        static_int8(source, tried, batches, [name for name in products if name not in names])
        found = [session(tried, 0).run(None, given) for given in probes]
        damage[group] = sum(float(np.linalg.norm(one - other) / max(np.linalg.norm(other), 1e-9)) for ours, theirs in zip(found, expected, strict=True)
                            for one, other in zip(ours, theirs, strict=True))
    tried.unlink(missing_ok=True)
    return [name for group in sorted(groups, key=damage.__getitem__, reverse=True)[:most] for name in groups[group]]


def numbers(wish: dict) -> str:
    """What a recipe's variant computes with: "dynamic" or "static" INT8, "half" (FP16), or "" for FP32.

    Raises InputError for another kind, and for "half" where no GPU would run it: a CPU computes in FP32 and only converts.
    """
    if (kind := wish.get("int8", "")) not in ("", "dynamic", "static"):
        raise InputError(f'int8 = "{kind}"', 'write "dynamic" or "static"')
    if wish.get("half") and not gpu():
        raise InputError("FP16 is for a GPU, and ONNX Runtime has none here", "run the task `compress` on a worker of the queue gpu")
    return "half" if wish.get("half") else kind


def quantise(path: Path, kind: str, batches: Callable[[], list[dict[str, np.ndarray]]], in_float: int = 0) -> None:
    """Replaces the FP32 ONNX at `path` by what `numbers` says: its INT8 ("static" by the ranges over `batches()`) or its FP16.

    in_float: how many layers static quantisation leaves as they are, those that it would hurt most.
    """
    if not kind:
        return
    if kind == "half":
        half(path)
        return
    source = path.with_suffix(".float.onnx")
    path.rename(source)
    if kind == "static":
        given = batches()
        static_int8(source, path, given, sensitive(source, given, in_float, path.parent) if in_float else [])
    else:
        int8(source, path)
    source.unlink()


def half(path: Path) -> None:
    """Makes the FP32 ONNX at `path` compute in FP16; it still reads and gives FP32."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numbers too small for FP16: the variant's own figures say what that does
        onnx.save(convert_float_to_float16(onnx.load(str(path)), keep_io_types=True), str(path))


def gpu() -> bool:
    """Does ONNX Runtime have a GPU here? Its GPU build offers CUDA everywhere, and complains where there is no driver."""
    return Path("/proc/driver/nvidia").exists() and "CUDAExecutionProvider" in onnxruntime.get_available_providers()


@cache
def _cuda() -> None:
    """Loads the CUDA libraries of NVIDIA's wheels, which stand in no path of the system; without them ONNX Runtime falls back to the processor."""
    onnxruntime.preload_dlls()


def facts(path: Path) -> dict:
    """What a manifest says of an ONNX file: opset, and name, type and shape of what it reads and gives; a name in a shape is any size."""
    opened = session(path, 1)
    import onnx

    told = {"opset": max(found.version for found in onnx.load(str(path), load_external_data=False).opset_import if found.domain in ("", "ai.onnx"))}
    return told | {kind: {part.name: [part.type, part.shape] for part in parts} for kind, parts in (("reads", opened.get_inputs()), ("gives", opened.get_outputs()))}


def session(path: Path, threads: int = 0) -> onnxruntime.InferenceSession:
    """An inference session on the GPU when ONNX Runtime finds one, else on `threads` CPU cores (0: all)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # a missing GPU is no news on a CPU machine
    providers = ["CPUExecutionProvider"]
    if gpu():
        _cuda()
        providers.insert(0, "CUDAExecutionProvider")
    return onnxruntime.InferenceSession(str(path), options, providers=providers)

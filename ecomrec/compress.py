"""ONNX: export, INT8 and sessions, the same for every model family."""

from pathlib import Path

import onnxruntime


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

    quantize_dynamic(str(source), str(target), weight_type=QuantType.QInt8, per_channel=True)


def session(path: Path, threads: int = 0) -> onnxruntime.InferenceSession:
    """An inference session on the GPU when ONNX Runtime finds one, else on `threads` CPU cores (0: all)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # a missing GPU is no news on a CPU machine
    # The GPU build offers CUDA everywhere, and complains where there is no driver.
    gpu = Path("/proc/driver/nvidia").exists() and "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"] if gpu else ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(str(path), options, providers=providers)

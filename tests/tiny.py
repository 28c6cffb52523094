"""A BERT, or a DistilBERT, of two small layers that a test can train in seconds: real code, no download."""

from pathlib import Path


def encoder(folder: Path, words: list[str], size: int = 32, seed: int = 0, distil: bool = False) -> Path:
    """Writes the encoder (`size` units, random weights, its vocabulary: letters and `words`) into `folder` and returns it."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast, DistilBertConfig, DistilBertModel

    folder.mkdir(parents=True, exist_ok=True)
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters), *words]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(seed)
    if distil:
        model = DistilBertModel(DistilBertConfig(vocab_size=len(vocabulary), dim=size, n_layers=2, n_heads=2, hidden_dim=2 * size))
    else:
        model = BertModel(BertConfig(vocab_size=len(vocabulary), hidden_size=size, num_hidden_layers=2, num_attention_heads=2, intermediate_size=2 * size))
    model.save_pretrained(folder)
    return folder

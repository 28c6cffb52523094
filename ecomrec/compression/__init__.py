"""Compression, a stage of every training run: variants of the trained model are made (`prune`, `distil`), exported (`graph`),
measured side by side, and the cheapest that is still good goes to the gates (`variants`)."""

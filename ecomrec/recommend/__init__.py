"""From a champion to every user's lists: candidates, rules, re-ranking, reasons, written to the publication's partitions.

    histories  what a shard's users bought, by COPY
    selling    what sells now, in place of what sold when the model was trained
    catalogue  the items that may be recommended, as arrays; one snapshot for the whole publication
    rules      the shop's TOML, checked;  policy  the same compiled for a day
    candidates the best of the catalogue for each user, under the hard rules, exactly (models/topn.py)
    lists      each context's list: boosts, diversity, caps, exploration, pins, fallback
    explain    why each item is there;  write  by COPY

A shard (`shard.py`) is one transaction: run again, it replaces itself. Tables that are not per user are in `related`.
"""

"""Simulated searches: what a shopper might have typed for a product that was really bought.

Type and brand words, some dropped, some shortened, some mistyped. Seeded by the purchase, so a day is always the same.
"""

import random

from ecomrec.queries import KEYBOARD

BRANDED, TYPO, SHORTENED = 0.1, 0.12, 0.15  # shares of the queries


def query(kind: str, brand: str | None, seed: int) -> str:
    """A query of one to four words for a product of this kind, always the same for the same seed."""
    chance = random.Random(seed)
    words = [word for word in kind.lower().split() if word.isalpha() and len(word) > 1] or kind.lower().split()[:2] or ["grocery"]
    keep = min(len(words), chance.choice((1, 2, 2, 3, 3, 4)))
    chosen = sorted(chance.sample(range(len(words)), keep))
    typed = [words[place] for place in chosen]
    if brand and chance.random() < BRANDED:
        typed.insert(0, brand.lower())
    if chance.random() < SHORTENED:
        place = chance.randrange(len(typed))
        typed[place] = typed[place][: max(3, len(typed[place]) - chance.randint(1, 3))]
    if chance.random() < TYPO:
        place = chance.randrange(len(typed))
        typed[place] = mistype(typed[place], chance)
    return " ".join(typed)


def mistype(word: str, chance: random.Random) -> str:
    """One slip of the finger: a neighbouring key, a letter left out, or two letters swapped."""
    if len(word) < 4:
        return word
    place = chance.randrange(1, len(word) - 1)
    slip = chance.randrange(3)
    if slip == 0:
        return word[:place] + chance.choice(KEYBOARD.get(word[place], word[place])) + word[place + 1:]
    if slip == 1:
        return word[:place] + word[place + 1:]
    return word[:place] + word[place + 1] + word[place] + word[place + 2:]

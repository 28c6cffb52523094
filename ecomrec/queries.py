"""What people type: one form for every spelling of the same query, and the typing errors that people make."""

import random
import unicodedata

MAX_CHARACTERS = 200  # more than any person types; what pastes a whole page is cut
ALPHABET = "abcdefghijklmnopqrstuvwxyz"
# Letters beside each other on a QWERTY keyboard.
KEYBOARD = {"a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj", "i": "uo", "j": "hk", "k": "jl", "l": "k", "m": "n",
            "n": "bm", "o": "ip", "p": "o", "q": "wa", "r": "et", "s": "ad", "t": "ry", "u": "yi", "v": "cb", "w": "qe", "x": "zc", "y": "tu", "z": "x"}


def normalise(query: str, most: int = MAX_CHARACTERS) -> str:
    """NFKC, lower case, control characters and runs of white space to one space, at most `most` characters. May be empty."""
    # Cut before the costly steps too: NFKC can make a character 18 times longer, never shorter than a third.
    # As Postgres lowers, one character at a time: the Turkish dotted capital becomes a plain i, not two characters, and a sigma is the same at a word's end.
    text = map(str.lower, unicodedata.normalize("NFKC", query[:4 * most]).replace("\u0130", "I"))
    text = "".join(" " if unicodedata.category(character) in ("Cc", "Cs") else character for character in text)
    return " ".join(text.split())[:most].rstrip()


def misspell(query: str, source: random.Random) -> str:
    """`query` with one typing error in one word of four letters or more: a letter lost, doubled, swapped or mistyped by a neighbouring key.

    A query without such a word comes back as it is.
    """
    words = query.split(" ")
    long = [place for place, word in enumerate(words) if len(word) >= 4]
    if not long:
        return query
    place = source.choice(long)
    word, at, kind = words[place], source.randrange(len(words[place]) - 1), source.randrange(4)
    words[place] = {0: word[:at] + word[at + 1:],
                    1: word[:at] + word[at] + word[at:],
                    2: word[:at] + word[at + 1] + word[at] + word[at + 2:],
                    3: word[:at] + source.choice(KEYBOARD.get(word[at], ALPHABET)) + word[at + 1:]}[kind]
    return " ".join(words)

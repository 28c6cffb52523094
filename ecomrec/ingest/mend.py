"""A careful copy of a JSON Lines file that DuckDB's fast reader refuses: one bad line must not cost the file.

Slow (Python, line by line), and so only for files that need it. What cannot be read is kept in its place as a marked
line, so line numbers stay those of the file.
"""

import codecs
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ecomrec.ingest.files import LONGEST_LINE, File, open_plain, whole
from ecomrec.ingest.projection import MARK

SHOWN = 2_000  # characters kept of a line that is too long
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def mend(file: File, folder: Path) -> Path:
    """Writes a plain UTF-8 copy into `folder`. Raises InputError when the file itself is cut off or broken, saying after which line."""
    target, number = folder / "mended.jsonl", 0
    with whole(file, lambda: number), open_plain(file) as stream, target.open("wb") as output:
        start = stream.peek(2)[:2] if hasattr(stream, "peek") else b""
        for line in _utf16(stream) if start in UTF16 else _lines(stream):
            output.write(line + b"\n")
            number += 1
    return target


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    first = True
    while line := stream.readline(LONGEST_LINE):
        if not line.endswith(b"\n") and len(line) == LONGEST_LINE:
            size = len(line)
            while more := stream.readline(1 << 20):
                size += len(more)
                if more.endswith(b"\n"):
                    break
            yield _marked(f"is a line of {size:,} bytes, more than {LONGEST_LINE:,}", line[:SHOWN])
            first = False
            continue
        line = line.rstrip(b"\r\n")
        if first:
            line, first = line.removeprefix(codecs.BOM_UTF8), False
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            yield _marked(f"is not UTF-8 (byte {error.start + 1})", line)
            continue
        yield _marked("not a JSON object", line) if "\x01" in text else line


def _utf16(stream: BinaryIO) -> Iterator[bytes]:
    for line in io.TextIOWrapper(stream, encoding="utf-16", errors="replace", newline="\n"):
        yield from _lines(io.BytesIO(line.encode("utf-8")))


def _marked(reason: str, line: bytes) -> bytes:
    shown = line.decode("utf-8", errors="backslashreplace").replace("\x01", "\\x01").replace(MARK, "\\x02").replace("\r", "\\r")
    return f"{MARK}{reason}{MARK}{shown}".encode()

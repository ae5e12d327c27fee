"""Reads the files of vectors, whose format is in tests/vectors/README.md."""

from __future__ import annotations

from pathlib import Path

# The folder above this one holds the vectors.
VECTORS = Path(__file__).absolute().parent.parent

Lines = list[tuple[str, str]]


def read(name: str) -> list[Lines]:
    """The vectors of a file, each as its lines of a key and a value."""
    vectors: list[Lines] = []
    current: Lines = []
    for line in (VECTORS / name).read_text(encoding="utf-8").splitlines() + [""]:
        content = line.split("#", 1)[0].strip()
        if content:
            key, _, value = content.partition(":")
            current.append((key.strip(), value.strip()))
        elif not line.strip() and current:
            vectors.append(current)
            current = []
    return vectors


def expand(words: str, tester_connects: bool = True) -> bytes:
    """BYTES as bytes. A connecting tester has the odd ids."""
    data = bytearray()
    for word in words.split():
        if word in ("TR", "UR"):
            data.append(1 if (word == "TR") == tester_connects else 2)
        elif word[0] in "TU":
            odd = (word[0] == "T") == tester_connects
            data += (2 * int(word[1:]) + (1 if odd else 2)).to_bytes(4, "big")
        elif "*" in word:
            byte, _, count = word.partition("*")
            data += bytes.fromhex(byte) * int(count)
        else:
            data += bytes.fromhex(word)
    return bytes(data)

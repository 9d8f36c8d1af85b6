"""Mutate files: seeded, so that each can be made again."""

import random
from collections.abc import Callable, Sequence

_HEAD_BYTES = 4096  # where most formats say what follows
_RUN_BYTES = 4096
_ODD = (0, 1, 0x7F, 0x80, 0xFF)

Mutation = Callable[[bytearray, random.Random, Sequence[bytes]], bytearray]


def flipped(content: bytearray, rng: random.Random, _others: Sequence[bytes]) -> bytearray:
    """Some bits are others."""
    for _ in range(rng.choice([1, 4, 64, 1024])):
        content[_place(content, rng)] ^= 1 << rng.randrange(8)
    return content


def overwritten(content: bytearray, rng: random.Random, _others: Sequence[bytes]) -> bytearray:
    """A run is noise, or one byte."""
    at, count = _place(content, rng), rng.randrange(1, _RUN_BYTES)
    run = rng.randbytes(count) if rng.random() < 0.5 else bytes([rng.choice(_ODD)]) * count
    content[at : at + count] = run
    return content


def numbers_changed(content: bytearray, rng: random.Random, _others: Sequence[bytes]) -> bytearray:
    """Some words, which may be sizes or counts, are as large or as small as can be."""
    for _ in range(rng.choice([1, 3, 9])):
        at, width = _place(content, rng), rng.choice([2, 4, 8])
        content[at : at + width] = bytes([rng.choice(_ODD)]) * width
    return content


def cut_off(content: bytearray, rng: random.Random, _others: Sequence[bytes]) -> bytearray:
    """The end is missing."""
    return content[: rng.randrange(1, len(content))]


def cut_out(content: bytearray, rng: random.Random, _others: Sequence[bytes]) -> bytearray:
    """A part is missing."""
    at = _place(content, rng)
    del content[at : at + rng.randrange(1, max(2, len(content) // 4))]
    return content


def repeated(content: bytearray, rng: random.Random, _others: Sequence[bytes]) -> bytearray:
    """A part is there twice."""
    at = _place(content, rng)
    part = content[at : at + rng.randrange(1, max(2, len(content) // 4))]
    content[at:at] = part
    return content


def spliced(content: bytearray, rng: random.Random, others: Sequence[bytes]) -> bytearray:
    """A part of another file is in it."""
    other = rng.choice(others)
    begin = rng.randrange(len(other))
    part = other[begin : begin + rng.randrange(1, 1 << 18)]
    at = _place(content, rng)
    content[at : at + (len(part) if rng.random() < 0.5 else 0)] = part
    return content


MUTATIONS: tuple[Mutation, ...] = (flipped, overwritten, numbers_changed, cut_off, cut_out, repeated, spliced)


def mutated(content: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """One to three mutations, one after the other; never empty."""
    made = bytearray(content)
    for mutation in rng.choices(MUTATIONS, k=rng.choice([1, 1, 2, 3])):
        made = mutation(made, rng, others) or bytearray(b"\0")
    return bytes(made)


def _place(content: bytearray, rng: random.Random) -> int:
    """Half of all at the begin, where a change matters most."""
    return rng.randrange(min(len(content), _HEAD_BYTES) if rng.random() < 0.5 else len(content))

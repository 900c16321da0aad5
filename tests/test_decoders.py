"""Decoders of bytes from outside, given what is nearly right; for as long as one likes: tools/fuzz.py."""

import random
from contextlib import suppress

import pytest

from tests.support.decoders import DECODERS

INPUTS = 150


def mutated(chance: random.Random, seed: bytes) -> bytes:
    """Change, cut, double and swap pieces of a seed."""
    data = bytearray(seed)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(data) + 1)
        piece = chance.choice((b"\0", b"\xff", b"\xff\xff\xff\xff", b"\xfe\xff\x00\xe0", b"SQ", chance.randbytes(3)))
        match chance.randrange(4):
            case 0:
                data[at : at + len(piece)] = piece
            case 1:
                data[at:at] = piece
            case 2:
                del data[at : at + chance.randrange(1, 30)]
            case _:
                data[at:at] = data[at : at + chance.randrange(1, 60)]
    return bytes(data)


@pytest.mark.parametrize("name", DECODERS)
def test_decoders_raise_nothing_but_what_they_say(name: str) -> None:
    decoder, chance = DECODERS[name], random.Random(name)
    for seed in decoder.seeds:
        decoder.decode(seed) if name not in ("A-ASSOCIATE-AC", "transcode") else None
    for number in range(INPUTS):
        data = mutated(chance, decoder.seeds[number % len(decoder.seeds)])
        with suppress(*decoder.raises):
            decoder.decode(data)

"""Blocks of a file on their way through memory."""

import gc

from components.checkpoints.blocks import BLOCK, in_blocks


class Bytes(bytearray):
    """A block that says when its memory is free."""

    there = 0

    def __init__(self, size):
        super().__init__(size)
        Bytes.there += 1

    def __del__(self):
        Bytes.there -= 1


def test_a_block_is_free_before_the_next_is_read_where_the_memory_is_for_one(monkeypatch):
    monkeypatch.setenv("RECYCLE_MEMORY", str(2 * BLOCK))
    seen, digested = [], []

    def work(start):
        gc.collect()
        seen.append(Bytes.there)
        return memoryview(Bytes(10 + start))

    in_blocks(range(5), work, lambda data: digested.append(len(data)), lambda done: None, BLOCK)
    assert digested == [10, 11, 12, 13, 14]
    assert seen == [0] * 5

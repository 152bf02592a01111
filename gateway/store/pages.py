"""Memory and lengths in whole pages: what a disk reads and writes without the kernel's page cache in between."""

import mmap

PAGE_BYTES = 4096
"""Offsets, lengths and addresses of direct input and output are multiples of it on every disk (open(2), O_DIRECT)."""


def page_aligned(size_bytes: int) -> memoryview:
    """A new writable buffer that begins at a page; it takes memory where it has been written to."""
    return memoryview(mmap.mmap(-1, size_bytes))


def whole_pages(count: int) -> int:
    """The bytes of the pages that hold `count` bytes."""
    return -(-count // PAGE_BYTES) * PAGE_BYTES

"""Memory and lengths in whole pages."""

import ctypes
import mmap

from hypothesis import given
from hypothesis import strategies as st

from gateway.store.pages import PAGE_BYTES, page_aligned, whole_pages


@given(st.integers(0, 1 << 50))
def test_whole_pages_hold_what_they_are_for_and_no_page_more(count: int) -> None:
    assert whole_pages(count) % PAGE_BYTES == 0
    assert 0 <= whole_pages(count) - count < PAGE_BYTES


def test_pages_of_a_few_lengths() -> None:
    assert [whole_pages(count) for count in (0, 1, 4095, 4096, 4097)] == [0, 4096, 4096, 4096, 8192]


@given(st.integers(1, 1 << 20))
def test_buffer_begins_at_a_page(size_bytes: int) -> None:
    buffer = page_aligned(size_bytes)

    assert len(buffer) == size_bytes
    assert ctypes.addressof(ctypes.c_char.from_buffer(buffer)) % PAGE_BYTES == 0
    assert not buffer.readonly
    assert buffer[-1] == 0


def test_pages_are_no_smaller_than_those_of_memory() -> None:
    """So that an address at one of ours is right for the disk; larger ones of memory are multiples of ours."""
    assert mmap.PAGESIZE % PAGE_BYTES == 0

"""The generated head as numbers: the same in any order, empty where no head is, right way round."""

import numpy as np
import pytest

from gateway.ops.anatomy import HIGHEST_HU, HIGHEST_MM, OUTSIDE_HU, Head
from gateway.ops.anatomy_shapes import INSIDE_THE_BRAIN, PARTS


@pytest.fixture(scope="module")
def head() -> Head:
    return Head(1, 128, 128)


def test_slices_do_not_depend_on_the_order_they_are_asked_for(head: Head) -> None:
    upwards = [head.slice_hu(z, noise_seed=7) for z in (-40, 0, 40)]
    downwards = [head.slice_hu(z, noise_seed=7) for z in (40, 0, -40)]

    for first, again in zip(upwards, reversed(downwards), strict=True):
        assert (first == again).all()


def test_noise_is_all_that_its_seed_changes(head: Head) -> None:
    difference = head.slice_hu(20, 1).astype(float) - head.slice_hu(20, 2)

    assert 0 < difference.std() < 15
    assert abs(difference.mean()) < 1


def test_above_the_vertex_there_is_air_and_the_head_rest(head: Head) -> None:
    image = head.slice_hu(HIGHEST_MM + 5, 1)

    assert image[:64].max() < -900
    assert -300 < image.max() < 0


def test_front_is_up_and_the_spine_is_below(head: Head) -> None:
    image = head.slice_hu(-72, 1)
    rows, _ = np.nonzero(image > 2000)
    behind, _ = np.nonzero((image > 600) & (np.arange(128)[:, np.newaxis] > 66))

    assert rows.max() < 55  # teeth
    assert len(behind) > 20


def test_values_keep_to_twelve_bits(head: Head) -> None:
    for z in range(-80, 100, 20):
        image = head.slice_hu(z, 1)
        assert image.dtype == np.int16
        assert OUTSIDE_HU <= image.min() <= image.max() <= HIGHEST_HU


@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (7, 7), (64, 96), (96, 64)])
def test_any_size(rows: int, columns: int) -> None:
    assert Head(1, rows, columns).slice_hu(-20, 1).shape == (rows, columns)


def test_two_seeds_are_two_heads() -> None:
    first, second = (Head(seed, 128, 128).slice_hu(50, 1) for seed in (1, 2))

    assert np.abs(first.astype(int) - second).mean() > 1


def test_parts_are_as_large_as_parts_of_a_head() -> None:
    for part in (*PARTS, *INSIDE_THE_BRAIN):
        assert all(0.5 < half_axis < 40 for half_axis in part.half_axes), part
        assert -1000 <= part.hu <= 2500, part

"""A human head as a CT scanner sees it: Hounsfield units, slice by slice, from a list of simple shapes.

Nothing here stems from a person. Coordinates are millimetres in the patient's system (PS3.3 §C.7.6.2.1.1):
x to the left, y to the back, z to the vertex; the origin lies above the ears. Distances are negative inside
a shape.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.ops.anatomy_shapes import AIR_HU, INSIDE_THE_BRAIN, PARTS, Ellipsoid

Image = NDArray[Any]
"""Of float32; one number per pixel, or per column or row."""

FIELD_OF_VIEW_MM = 250.0
CENTRE_MM = (0.0, 6.0)
"""Of the field of view, in x and y."""
LOWEST_MM, HIGHEST_MM = -84.0, 98.0
"""What a series covers: from the lower jaw to just above the vertex."""
HEAD_X_MM, HEAD_Y_MM = (-94.0, 94.0), (-124.0, 114.0)
"""No part of a head is beyond."""
OUTSIDE_HU = -1024
"""Where the scanner reconstructs nothing: beyond the circle of the field of view."""
HIGHEST_HU = 3071
"""What 12 bits can hold above the lowest value."""
EDGE_MM = 0.9
"""Over which a border blurs, from the size of detector and voxel."""
_DENSE_HU = 600
"""From here on it is bone that throws a shadow."""
NOISE_HU = 4.0
"""Standard deviation in the brain, as in a thin slice of a routine protocol."""

# Tissue by depth below the skin, and by distance from the inside of the skull, in mm and Hounsfield units.
_SKIN = ((-9.0, 52), (-7.0, 52), (-6.2, -85), (-3.0, -85), (-2.3, 42), (-0.4, 42), (0.4, AIR_HU))
_SKULL = ((-0.5, 12), (0.2, 1250), (1.3, 1250), (2.0, 520), (4.2, 520), (4.9, 1150), (6.0, 1150), (6.6, 48))
_SKIN_TO_SKULL_MM = 12.5
_CRANIUM_CENTRE_MM = (0.0, 8.0, 15.0)
_CRANIUM_HALF_AXES_MM = (64.0, 82.0, 66.0)
_CRANIUM_HALF_HEIGHT_BELOW_MM = 88.0
_FACE_AND_NECK = (
    Ellipsoid((0, -42, -38), (64, 60, 62)),
    Ellipsoid((0, -22, -44), (70, 52, 46)),
    Ellipsoid((0, 26, -38), (75, 60, 34)),
    Ellipsoid((0, -34, -78), (57, 56, 44)),
    Ellipsoid((0, 34, -95), (64, 62, 78)),
    Ellipsoid((0, -103, -36), (13, 18, 20)),
)
_FISSURE_HALF_WIDTH_MM, _FISSURE_DEPTH_MM = 2.4, 30.0
_FALX_HALF_WIDTH_MM, _FALX_DEPTH_MM = 0.8, 32.0
_TENTORIUM_TOP_MM, _TENTORIUM_FRONT_MM = 6.0, 14.0
_TENTORIUM_HALF_WIDTH_MM = 0.8
_TABLE_CENTRE_MM, _TABLE_RADIUS_MM, _TABLE_HALF_WIDTH_MM = 14.0, 113.0, 1.2
_BLEND_MM = 7.0
"""Over which the rounded parts of face and neck run into each other."""


@dataclass(frozen=True, slots=True)
class _Waves:
    """A sum of plane waves through space: its sheets of zero wind like the furrows of a brain."""

    vectors: NDArray[Any]
    phases: NDArray[Any]

    @classmethod
    def random(cls, random: np.random.Generator, count: int, lengths_mm: tuple[float, float]) -> "_Waves":
        direction = random.normal(size=(count, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        vectors = direction * (2 * np.pi / random.uniform(*lengths_mm, size=(count, 1)))
        return cls(vectors.astype(np.float32), random.uniform(0, 2 * np.pi, count).astype(np.float32))

    def at(self, x: Image, y: Image, z: float) -> Image:
        """Values of standard deviation 1 over a column of y and a row of x."""
        total = np.zeros((y.size, x.size), np.float32)
        for (kx, ky, kz), phase in zip(self.vectors, self.phases, strict=True):
            along_x, along_y = kx * x, ky * y + (kz * np.float32(z) + phase)
            total += np.sin(along_x) * np.cos(along_y) + np.cos(along_x) * np.sin(along_y)
        return total * np.float32((2 / len(self.phases)) ** 0.5)


class Head:
    """One head, made from a seed; `slice_hu` may be called in any order and always gives the same."""

    def __init__(self, seed: int, rows: int, columns: int) -> None:
        """Prepare what all slices share, for images of `rows` by `columns` square pixels."""
        random = np.random.default_rng(seed)
        self._seed = seed
        self.pixel_mm = FIELD_OF_VIEW_MM / max(rows, columns)
        x = _positions(columns, self.pixel_mm, CENTRE_MM[0])
        y = _positions(rows, self.pixel_mm, CENTRE_MM[1])
        self._box = (_window(y, *HEAD_Y_MM), _window(x, *HEAD_X_MM))
        self._x, self._y = x[np.newaxis, self._box[1]], y[self._box[0], np.newaxis]
        self._gyri = _Waves.random(random, 6, (15, 25))
        self._folds = _Waves.random(random, 4, (20, 45))
        self._parts = [_varied(random, part) for part in PARTS]
        self._nuclei = [_varied(random, part) for part in INSIDE_THE_BRAIN]
        self._floor, self._floor_cosine = self._skull_floor()
        width = _CRANIUM_HALF_AXES_MM[0] * (1 + 0.0013 * self._y)  # broadest behind the ears
        self._cranium_xy = (self._x / width) ** 2 + ((self._y - 8) / _CRANIUM_HALF_AXES_MM[1]) ** 2
        self._radius_xy = self._x**2 + (self._y - 8) ** 2
        self._around = _around(x[np.newaxis, :], y[:, np.newaxis])
        self._outside = np.hypot(x - CENTRE_MM[0], y[:, np.newaxis] - CENTRE_MM[1]) > FIELD_OF_VIEW_MM / 2

    def slice_hu(self, z_mm: float, noise_seed: int) -> NDArray[np.int16]:
        """The axial slice at this height, rows from front to back and columns from right to left, in HU."""
        image = self._around.copy()
        image[self._box] = np.maximum(image[self._box], self._head(float(z_mm)))
        image += self._noise(image, noise_seed)
        image[self._outside] = OUTSIDE_HU
        return np.clip(np.rint(image), OUTSIDE_HU, HIGHEST_HU).astype(np.int16)

    def _head(self, z: float) -> Image:
        cranium = self._cranium_distance(z)
        image = self._soft_tissue(z, cranium)
        inside = np.maximum(cranium, self._floor_distance(z))
        bone = inside < _SKULL[-1][0]
        if bone.any():
            np.copyto(image, _by_distance(inside, _SKULL), where=bone)
            self._add_brain(image, z, -cranium, -inside)
        for part in self._parts:
            self._paint(image, part, z)
        return image

    def _cranium_distance(self, z: float) -> Image:
        """From the inside of the skull cap, outwards."""
        height = z - _CRANIUM_CENTRE_MM[2]
        half_height = _CRANIUM_HALF_AXES_MM[2] if height > 0 else _CRANIUM_HALF_HEIGHT_BELOW_MM
        scale = np.sqrt(self._cranium_xy + np.float32((height / half_height) ** 2)) + np.float32(1e-3)
        distance: Image = np.sqrt(self._radius_xy + np.float32(height**2)) * (1 - 1 / scale)
        return distance

    def _floor_distance(self, z: float) -> Image:
        """From the upper side of the skull's floor, downwards; its bone is thinner than that of the cap."""
        below = self._floor - np.float32(z)
        near = self._floor_cosine + (1 - self._floor_cosine) * np.clip(-below / 40, 0, 1)
        distance: Image = np.where(below > 0, np.float32(1.7), np.float32(1)) * below * near
        return distance

    def _skull_floor(self) -> tuple[Image, Image]:
        """Height of the floor under the brain, in three steps from front to back, and the cosine of its slope."""
        x, y = np.abs(self._x), self._y
        roofs = 10 * np.exp(-(((x - 30) / 14) ** 2) - ((y + 58) / 17) ** 2)
        front = 1 + roofs - 4 * np.exp(-((x / 8) ** 2)) + 0.06 * (y + 55)
        middle = -25 + 0.009 * (x - 36) ** 2 + 0.02 * (y + 8) ** 2 + 9 * np.exp(-((x / 13) ** 4))
        back = -47 + 0.0085 * (x**2 + (y - 40) ** 2)
        to_middle, to_back = _step(y + 0.15 * x, -26, 4), _step(y - 0.35 * x, 12, 6)
        floor = front + (middle - front) * to_middle
        floor = floor + (back - floor) * to_back
        floor = (floor - 40 * _step(16 - np.hypot(x, y - 36), 0, 1.5)).astype(np.float32)  # foramen magnum
        down, across = np.gradient(floor, self.pixel_mm)
        return floor, np.maximum(1 / np.sqrt(1 + down**2 + across**2), 0.25).astype(np.float32)

    def _soft_tissue(self, z: float, cranium: Image) -> Image:
        """Skin, fat and muscle of head, face and neck; air around them."""
        skin = cranium - np.float32(_SKIN_TO_SKULL_MM)
        for part in _FACE_AND_NECK:
            if abs(z - part.centre[2]) < part.half_axes[2]:
                skin = _blended(skin, self._distance(part, z))
        image = _by_distance(skin, _SKIN)
        planes_of_fat = np.clip(1.3 - np.abs(self._folds.at(self._x, self._y, z)) / np.float32(0.14), 0, 1)
        image -= 115 * planes_of_fat * (skin < -_SKIN_TO_SKULL_MM)
        return image

    def _add_brain(self, image: Image, z: float, below_cap: Image, depth: Image) -> None:
        """Brain and cerebrospinal fluid, by the depth under the cap of the skull and under all of its inside."""
        brain = self._cerebrum(z, below_cap, depth)
        if z < _TENTORIUM_TOP_MM:
            self._add_cerebellum(brain, z)
        brain += (10 - brain) * np.clip((3 - depth) / np.float32(1.2), 0, 1)
        brain += 5 * np.exp(-np.maximum(depth, 0) / 5)  # beam hardening: too bright next to the skull,
        between_petrous_bones = 9 * np.exp(-(((z + 26) / 8) ** 2))
        brain -= between_petrous_bones * np.exp(-(((self._y - 8) / 9) ** 2))  # too dark between dense bones
        for nucleus in self._nuclei:
            self._paint(brain, nucleus, z)
        np.copyto(image, brain, where=depth > -_SKULL[0][0])

    def _cerebrum(self, z: float, below_cap: Image, depth: Image) -> Image:
        """Grey and white matter, furrows, and the falx in its fissure."""
        x, y = self._x, self._y
        gyri = np.abs(self._gyri.at(x, y, z))
        deep, below_cortex = np.clip((depth - 17) / 5, 0, 1), np.clip((depth - 5) / 2, 0, 1)
        white = np.maximum(deep, below_cortex * _above(gyri, 0.6, 0.4))
        brain = 39 - 9 * white
        furrows = np.clip(1.3 - gyri / np.float32(0.30), 0, 1) * np.clip((17 - depth) / 6, 0, 1)
        brain += (11 - brain) * furrows * np.float32(0.9)
        brain[(np.abs(x) < _FISSURE_HALF_WIDTH_MM) & (below_cap < _FISSURE_DEPTH_MM)] = 13
        brain[(np.abs(x) < _FALX_HALF_WIDTH_MM) & (below_cap < _FALX_DEPTH_MM)] = 50
        return brain

    def _add_cerebellum(self, brain: Image, z: float) -> None:
        """The cerebellum with its folia, under the tentorium, and the tentorium itself."""
        x, y = self._x, self._y
        below = _TENTORIUM_TOP_MM - 0.42 * (y - 20) - 0.2 * np.abs(x) - z
        folia = 40 + 2.5 * np.sin(np.hypot(x, 1.4 * (y - 5)) * np.float32(2 * np.pi / 4.5))
        behind = y > _TENTORIUM_FRONT_MM + 0.005 * x**2
        np.copyto(brain, folia, where=(below > 0) & behind)
        brain[(np.abs(below) < _TENTORIUM_HALF_WIDTH_MM) & behind] = 48

    def _distance(self, part: Ellipsoid, z: float) -> Image:
        """Roughly, from the surface of an upright ellipsoid."""
        (cx, cy, cz), (a, b, c) = part.centre, part.half_axes
        x, y, up = self._x - cx, self._y - cy, z - cz
        scale = np.sqrt((x / a) ** 2 + (y / b) ** 2 + (up / c) ** 2) + 1e-3
        distance: Image = (np.sqrt(x**2 + y**2 + up**2) * (1 - 1 / scale)).astype(np.float32)
        return distance

    def _paint(self, image: Image, part: Ellipsoid, z: float) -> None:
        """Blend one part into the image, touching only the pixels around it."""
        (cx, cy, cz), (a, b, c) = part.centre, part.half_axes
        height = (z - cz) / c
        if abs(height) >= 1:
            return
        reach = max(a, b) + EDGE_MM
        columns = _window(self._x[0], cx - reach, cx + reach)
        rows = _window(self._y[:, 0], cy - reach, cy + reach)
        x, y = self._x[:, columns] - cx, self._y[rows] - cy
        turn = np.deg2rad(part.turned_deg)
        along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        scale = np.sqrt((along / a) ** 2 + (across / b) ** 2 + height**2)
        cover = np.clip((1 - scale) * (min(a, b) / EDGE_MM) + 0.5, 0, 1)
        region = image[rows, columns]
        region += ((part.hu - region) * cover).astype(np.float32)

    def _noise(self, image: Image, seed: int) -> Image:
        """Correlated over neighbours, as the reconstruction filter makes it, and stronger where bone shadows."""
        random = np.random.default_rng((self._seed, seed))
        noise = random.standard_normal(image.shape, dtype=np.float32)
        noise += np.roll(noise, 1, 0)
        noise += np.roll(noise, 1, 1)
        shadow = 1 + 4 * float(np.mean(image > _DENSE_HU))
        noise *= np.float32(NOISE_HU * shadow / 2)
        return noise


def _positions(count: int, pixel_mm: float, centre_mm: float) -> Image:
    return ((np.arange(count) - (count - 1) / 2) * pixel_mm + centre_mm).astype(np.float32)


def _window(positions: NDArray[Any], lowest: float, highest: float) -> slice:
    first, last = np.searchsorted(positions, (lowest, highest))
    return slice(int(first), int(last))


def _around(x: Image, y: Image) -> Image:
    """Air, and the head rest: a thin shell around foam, open to the front."""
    image = np.full((y.size, x.size), AIR_HU, np.float32)
    beyond = np.hypot(x, y - _TABLE_CENTRE_MM) - _TABLE_RADIUS_MM
    behind = np.abs(np.arctan2(x, y - _TABLE_CENTRE_MM)) < np.deg2rad(62)
    image[behind & (beyond < 0)] = -930
    image[behind & (np.abs(beyond) < _TABLE_HALF_WIDTH_MM)] = -150
    return image


def _step(values: Image, at: float, width: float) -> Image:
    step: Image = 0.5 + 0.5 * np.tanh((values - np.float32(at)) / np.float32(width))
    return step


def _above(values: Image, threshold: float, width: float) -> Image:
    ramp: Image = np.clip((values - np.float32(threshold)) / np.float32(width), 0, 1)
    return ramp


def _blended(first: Image, second: Image) -> Image:
    """The union of two shapes, by their distances, without a crease."""
    share = np.clip(0.5 + 0.5 * (second - first) / _BLEND_MM, 0, 1)
    union: Image = second + (first - second) * share - _BLEND_MM * share * (1 - share)
    return union


def _by_distance(distance: Image, profile: tuple[tuple[float, float], ...]) -> Image:
    knots, values = zip(*profile, strict=True)
    tissue: Image = np.interp(distance, knots, values).astype(np.float32)
    return tissue


def _varied(random: np.random.Generator, part: Ellipsoid) -> Ellipsoid:
    """No head is symmetric: the part a little moved and resized."""
    moved = np.asarray(part.centre) + random.normal(0, 0.4, 3)
    resized = np.asarray(part.half_axes) * random.normal(1, 0.02, 3)
    return replace(part, centre=tuple(moved.tolist()), half_axes=tuple(resized.tolist()))

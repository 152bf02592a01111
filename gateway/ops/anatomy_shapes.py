"""The parts of a generated head: where they are, how large, and how many Hounsfield units they have.

Millimetres, x to the left, y to the back, z to the vertex, as in `gateway.ops.anatomy`. Later parts cover
earlier ones.
"""

import math
from dataclasses import dataclass, replace

Point = tuple[float, float, float]

AIR_HU = -1000
_WATER, _CSF, _FAT, _MUSCLE, _GREY, _WHITE = 0, 8, -90, 55, 40, 31
_BONE, _DENSE_BONE, _SPONGY_BONE, _ENAMEL, _CALCIFIED = 950, 1500, 450, 2500, 220


@dataclass(frozen=True, slots=True)
class Ellipsoid:
    """A part: centre, half axes, Hounsfield units, and how far it is turned from x towards y."""

    centre: Point
    half_axes: Point
    hu: float = 0.0
    turned_deg: float = 0.0


def _pair(part: Ellipsoid) -> tuple[Ellipsoid, Ellipsoid]:
    """A part of the left side, and its mirror image on the right."""
    x, y, z = part.centre
    return part, replace(part, centre=(-x, y, z), turned_deg=-part.turned_deg)


def _walled(part: Ellipsoid, wall_mm: float, hu: float) -> tuple[Ellipsoid, Ellipsoid]:
    """A part in a wall of something else."""
    a, b, c = part.half_axes
    return replace(part, half_axes=(a + wall_mm, b + wall_mm, c + wall_mm), hu=hu), part


def _both_walled(part: Ellipsoid, wall_mm: float, hu: float) -> tuple[Ellipsoid, ...]:
    return tuple(wall for side in _pair(part) for wall in _walled(side, wall_mm, hu))


def _row_of_teeth(z: float, half_width: float, depth: float, y: float, count: int) -> tuple[Ellipsoid, ...]:
    """Teeth along a half ellipse that opens to the back."""
    teeth = []
    for number in range(count):
        angle = math.pi * (-0.46 + 0.92 * number / (count - 1))
        centre = (half_width * math.sin(angle), y - depth * math.cos(angle), z)
        teeth.append(Ellipsoid(centre, (2.9, 3.4, 7.0), _ENAMEL))
    return tuple(teeth)


def _jaw(z: float, half_height: float, half_width: float, depth: float, y: float) -> tuple[Ellipsoid, ...]:
    """Overlapping pieces of bone along a half ellipse that opens to the back."""
    pieces: list[Ellipsoid] = []
    count = 35
    for number in range(count):
        angle = math.pi * (-0.5 + number / (count - 1))
        centre = (half_width * math.sin(angle), y - depth * math.cos(angle), z)
        pieces += _walled(Ellipsoid(centre, (3.6, 3.6, half_height - 2), _SPONGY_BONE), 2.0, _BONE)
    walls, cores = pieces[::2], pieces[1::2]
    return (*walls, *cores)


INSIDE_THE_BRAIN: tuple[Ellipsoid, ...] = (
    *_pair(Ellipsoid((25, -6, 12), (8, 18, 11), _GREY + 2)),  # lentiform nucleus
    *_pair(Ellipsoid((13, -20, 18), (5, 11, 10), _GREY + 2)),  # head of the caudate nucleus
    *_pair(Ellipsoid((11, 12, 12), (8, 14, 9), _GREY + 1)),  # thalamus
    *_pair(Ellipsoid((19, 2, 12), (2.2, 15, 9), _WHITE, 18)),  # internal capsule
    *_pair(Ellipsoid((47, -12, 6), (13, 2.0, 10), _CSF + 4, -28)),  # Sylvian fissure
    *_pair(Ellipsoid((38, -2, 9), (1.8, 16, 10), _CSF + 6)),  # insular cistern
    *_pair(Ellipsoid((10, -26, 20), (4.5, 15, 10), _CSF, 24)),  # frontal horn
    *_pair(Ellipsoid((11, 0, 28), (5.5, 28, 8), _CSF, -6)),  # body of the lateral ventricle
    *_pair(Ellipsoid((20, 29, 19), (6.5, 17, 10), _CSF, -24)),  # atrium
    *_pair(Ellipsoid((26, 48, 13), (3.0, 10, 5), _CSF, -8)),  # occipital horn
    *_pair(Ellipsoid((32, 2, -10), (2.2, 13, 3), _CSF, -12)),  # temporal horn
    *_pair(Ellipsoid((22, 36, 17), (3.0, 4.2, 3.6), _CALCIFIED)),  # choroid plexus
    Ellipsoid((0, 4, 8), (2.4, 15, 10), _CSF),  # third ventricle
    Ellipsoid((0, 23, 10), (2.0, 2.4, 2.0), _CALCIFIED + 60),  # pineal body
    Ellipsoid((0, 22, 1), (15, 5, 5), _CSF + 2),  # quadrigeminal cistern
    Ellipsoid((0, -8, -9), (14, 9, 5), _CSF),  # suprasellar cistern
    Ellipsoid((0, 8, -16), (17, 12, 16), _GREY - 4),  # midbrain and pons
    Ellipsoid((0, 20, -36), (8, 8, 20), _GREY - 4),  # medulla oblongata
    Ellipsoid((0, -7, -22), (13, 3.5, 14), _CSF),  # prepontine cistern
    Ellipsoid((0, 30, -22), (8, 5, 9), _CSF),  # fourth ventricle
    Ellipsoid((0, 52, -22), (3.0, 15, 10), _GREY + 8),  # vermis
)

_SPINE: tuple[Ellipsoid, ...] = (
    Ellipsoid((0, 44, -54), (25, 19, 6), _BONE),  # arch of the atlas
    Ellipsoid((0, 40, -72), (22, 21, 9), _BONE),  # arch of the axis
    *_pair(Ellipsoid((19, 26, -54), (10, 10, 9), _BONE)),
    *_pair(Ellipsoid((18, 24, -73), (9, 9, 10), _BONE)),
    Ellipsoid((0, 17, -72), (12, 8, 14), _BONE - 150),
    Ellipsoid((0, 17, -56), (5.5, 5.5, 14), _BONE),  # dens
    Ellipsoid((0, 62, -72), (4, 10, 7), _BONE - 200),
    Ellipsoid((0, 38, -70), (13, 11, 32), _CSF + 10),
    Ellipsoid((0, 37, -70), (6.5, 5, 34), _GREY - 4),  # spinal cord
)

_SKULL_BASE: tuple[Ellipsoid, ...] = (
    Ellipsoid((0, 0, -30), (13, 12, 17), _SPONGY_BONE),  # body of the sphenoid bone and clivus
    Ellipsoid((0, 10, -42), (12, 6, 12), _SPONGY_BONE + 150),
    *_pair(Ellipsoid((36, 14, -28), (30, 8.5, 10), _BONE + 150, 32)),  # petrous bone
    *_pair(Ellipsoid((27, 9, -26), (9, 5.5, 6), _DENSE_BONE + 300, 32)),  # labyrinth
    *_pair(Ellipsoid((57, 32, -36), (10, 15, 15), _BONE - 250)),  # mastoid process
    *_pair(Ellipsoid((58, 19, -32), (17, 3.0, 3.4), AIR_HU)),  # external auditory canal
    *_pair(Ellipsoid((45, 17, -29), (6, 4, 5), AIR_HU + 100, 30)),  # tympanic cavity
    *_pair(Ellipsoid((22, 6, -23), (5, 1.6, 1.8), 60, 20)),  # internal auditory canal
    *(
        cell
        for x, y, z, r in (
            (54, 27, -30, 2.4),
            (60, 32, -32, 2.8),
            (53, 35, -34, 3.0),
            (59, 39, -36, 2.4),
            (55, 30, -40, 2.8),
            (61, 35, -41, 2.2),
            (56, 38, -43, 2.6),
            (52, 24, -36, 2.0),
            (58, 27, -46, 2.2),
        )
        for cell in _pair(Ellipsoid((x, y, z), (r, r * 1.2, r * 1.6), AIR_HU + 60))
    ),
)

_ORBITS: tuple[Ellipsoid, ...] = (
    *_pair(Ellipsoid((31, -61, -20), (22, 24, 20), _BONE - 150, 16)),
    *_pair(Ellipsoid((31, -65, -20), (19, 25, 17.5), _FAT, 16)),
    *_pair(Ellipsoid((30, -83, -20), (16, 5, 12), 40, 14)),  # lids
    *_pair(Ellipsoid((25, -53, -20), (2.2, 17, 2.2), 38, 20)),  # optic nerve
    *_pair(Ellipsoid((17.5, -61, -20), (2.0, 15, 5), _MUSCLE, 14)),  # medial rectus
    *_pair(Ellipsoid((40, -58, -20), (1.8, 15, 5), _MUSCLE, 32)),  # lateral rectus
    *_pair(Ellipsoid((29, -60, -7.5), (5, 16, 1.8), _MUSCLE)),  # superior rectus
    *_pair(Ellipsoid((29, -60, -32.5), (5, 16, 1.8), _MUSCLE)),  # inferior rectus
    *_both_walled(Ellipsoid((32, -75, -20), (11.0, 11.0, 11.0), _CSF + 4), 1.2, 48),  # globe
    *_pair(Ellipsoid((32, -82.5, -20), (4.6, 2.1, 4.6), 90)),  # lens
)

_SINUSES: tuple[Ellipsoid, ...] = (
    *_both_walled(Ellipsoid((9, -76.5, 9), (9, 2.6, 10), AIR_HU, -16), 1.6, _BONE),  # frontal
    *_both_walled(Ellipsoid((6.5, -20, -24), (6, 10, 8), AIR_HU), 1.4, _BONE - 200),  # sphenoid
    *_both_walled(Ellipsoid((31, -58, -48), (12.5, 16, 16), AIR_HU, -10), 1.5, _BONE - 200),  # maxillary
    Ellipsoid((0, -62, -20), (11.5, 25, 16), 260),  # ethmoid labyrinth
    *(
        cell
        for row, y in enumerate((-82, -74, -66, -58, -50, -43))
        for z in (-29, -21, -13)
        for cell in _pair(Ellipsoid((5.7, y, z + 2 * (row % 2)), (4.6 - row % 2, 3.5, 3.9), AIR_HU, 9 * row))
    ),
)

_NOSE_AND_THROAT: tuple[Ellipsoid, ...] = (
    *_both_walled(Ellipsoid((7, -66, -46), (7.5, 36, 17), AIR_HU), 1.0, 160),  # nasal cavity
    *_pair(Ellipsoid((8.5, -64, -50), (2.6, 24, 6.5), 48)),  # inferior nasal concha
    *_pair(Ellipsoid((7, -60, -37), (1.8, 19, 4.5), 48)),  # middle nasal concha
    Ellipsoid((0, -64, -44), (0.9, 33, 18), 300),  # nasal septum
    Ellipsoid((0, -14, -50), (14, 9, 18), AIR_HU),  # nasopharynx
    Ellipsoid((0, -2, -80), (11, 7, 22), AIR_HU),  # oropharynx
    Ellipsoid((0, -60, -65), (23, 27, 2.0), _BONE - 200),  # hard palate
    Ellipsoid((0, -45, -79), (24, 28, 9), _MUSCLE + 8),  # tongue
    *_pair(Ellipsoid((3.5, -112, -48), (3.0, 8, 7), AIR_HU)),  # nostril
)

_FACE_BONES: tuple[Ellipsoid, ...] = (
    Ellipsoid((0, -93, -26), (4, 6, 11), _BONE - 100),  # nasal bones
    *_pair(Ellipsoid((48, -60, -38), (9, 6, 9), _BONE - 100, 40)),  # zygomatic bone
    *_pair(Ellipsoid((58, -30, -36), (2.2, 27, 4), _BONE, -3)),  # zygomatic arch
    *_pair(Ellipsoid((47, -52, -20), (3, 12, 14), _BONE, -20)),  # lateral wall of the orbit
    *_pair(Ellipsoid((50, -8, -44), (3.4, 6.5, 9), _BONE)),  # condyle and neck of the lower jaw
    *_pair(Ellipsoid((46, -14, -64), (3.6, 14, 20), _BONE)),  # ramus of the lower jaw
    *_pair(Ellipsoid((46, -14, -64), (1.4, 11, 17), _SPONGY_BONE)),
    *_pair(Ellipsoid((18, -22, -50), (1.6, 9, 14), _BONE - 200, -20)),  # pterygoid process
    *_jaw(-66, 6, 26, 40, -50),
    *_jaw(-86, 10, 42, 62, -24),
    *_row_of_teeth(-73, 25, 39, -51, 14),
    *_row_of_teeth(-81, 26, 38, -50, 14),
)

_EARS: tuple[Ellipsoid, ...] = (
    *_pair(Ellipsoid((72, 18, -24), (2.2, 14, 29), 20, -22)),
    *_pair(Ellipsoid((77, 29, -22), (3.0, 4, 27), 20)),
)

PARTS: tuple[Ellipsoid, ...] = (
    *_EARS,
    *_SPINE,
    *_SKULL_BASE,
    *_FACE_BONES,
    *_ORBITS,
    *_SINUSES,
    *_NOSE_AND_THROAT,
)

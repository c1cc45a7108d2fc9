import math

import numpy as np
import pytest

from repvgg_np.data.shapes import (
    FIGURES,
    checkers,
    crescent,
    cross,
    disk,
    heart,
    ring,
    square,
    star,
    stripes,
    triangle,
)

SCALE = 200  # points per unit
# Off the symmetric position by an arbitrary part of their distance.
POINTS = ((np.arange(-320, 320) + np.array([[0.37], [0.21]])) / SCALE).astype(np.float32)
U, V = np.meshgrid(POINTS[0], POINTS[1])


def crescent_area():
    """The disk of radius a without the lens that it has in common with a disk of radius b, d away from it."""
    a, b, d = 0.98, 0.75, 0.5
    part_a = a * a * math.acos((d * d + a * a - b * b) / (2 * d * a))
    part_b = b * b * math.acos((d * d + b * b - a * a) / (2 * d * b))
    kite = math.sqrt((-d + a + b) * (d + a - b) * (d - a + b) * (d + a + b)) / 2
    return math.pi * a * a - (part_a + part_b - kite)


def stripes_area():
    """The parts of a disk whose distance from a diameter is within 0.15 of -0.6, 0 or 0.6."""

    def below(u):
        return u * math.sqrt(0.9**2 - u * u) + 0.9**2 * math.asin(u / 0.9)

    return sum(below(middle + 0.15) - below(middle - 0.15) for middle in (-0.6, 0, 0.6))


# A pentagram whose five lines are r away from the centre consists of ten triangles between the centre, a
# point (at r / cos 72 degrees) and a notch (at r / cos 36 degrees), with 36 degrees between these.
STAR_AREA = 5 * 0.33**2 * math.sin(math.pi / 5) / (math.cos(math.pi / 2.5) * math.cos(math.pi / 5))
STAR_OUTLINE = 10 * 0.33 * (math.tan(math.pi / 2.5) - math.tan(math.pi / 5))


@pytest.mark.parametrize(
    ("figure", "area", "outline"),
    [
        (disk, math.pi * 0.9**2, 2 * math.pi * 0.9),
        (ring, math.pi * (0.94**2 - 0.5**2), 2 * math.pi * (0.94 + 0.5)),
        (square, 1.56**2, 4 * 1.56),
        (triangle, 3 * math.sqrt(3) * 0.5**2, 6 * math.sqrt(3) * 0.5),
        (star, STAR_AREA, STAR_OUTLINE),
        (cross, 2 * 1.9 * 0.6 - 0.6**2, 4 * 1.9),
        (heart, 1.2**2 + math.pi * 0.6**2, 2 * 1.2 + 2 * math.pi * 0.6),
        (crescent, crescent_area(), 2 * math.pi * (0.98 + 0.75)),
        (stripes, stripes_area(), 2 * math.pi * 0.9 + 6 * 1.8),
    ],
)
def test_a_figure_has_the_area_that_geometry_says(figure, area, outline):
    counted = (figure(U, V) < 0).sum() / SCALE**2
    # A cell around a point is counted wrongly, and by no more than its size, only if the outline passes
    # through it. On its way through L cells' lengths it crosses at most sqrt(2) L lines between cells, and
    # some more where it turns back.
    assert abs(counted - area) < (math.sqrt(2) * outline * SCALE + 50) / SCALE**2


def test_the_chessboard_alternates():
    inside_the_disk = U * U + V * V < 0.9**2
    column, row = np.floor(U / 0.3 + 0.5), np.floor(V / 0.3 + 0.5)
    assert np.array_equal(checkers(U, V) < 0, inside_the_disk & ((column + row) % 2 == 1))


@pytest.mark.parametrize("figure", FIGURES)
def test_a_figure_is_drawn_in_float32(figure):
    assert figure(U, V).dtype == np.float32


@pytest.mark.parametrize("figure", FIGURES)
def test_a_figure_is_its_own_mirror_image(figure):
    distance = figure(U, V)
    asymmetry = min(np.abs(figure(-U, V) - distance).max(), np.abs(figure(U, -V) - distance).max())
    # Triangle and star are made of rounded sines of angles: some units in the last place of numbers below 4.
    assert asymmetry <= 4 * 2**-22


@pytest.mark.parametrize("figure", FIGURES)
def test_a_figure_lies_nearly_within_the_circle_of_radius_1(figure):
    outside = U * U + V * V > 1.15**2
    assert (figure(U, V)[outside] > 0).all()


@pytest.mark.parametrize("figure", FIGURES)
def test_a_distance_grows_as_fast_as_one_walks_away(figure):
    # So that every edge is one pixel wide, neither sharper nor softer.
    downwards, rightwards = np.gradient(figure(U, V).astype(np.float64), 1 / SCALE)
    # Distances and coordinates are below 4, and rounded a few times, each time by at most 2**-23 (half a unit
    # in the last place): say, eight times in both of the two distances whose difference is divided by two
    # steps.
    rounding = 2 * 8 * 2**-23 * SCALE / 2
    assert np.abs(downwards).max() <= 1 + rounding
    assert np.abs(rightwards).max() <= 1 + rounding
    # It can be less where two outlines are equally near; the median is somewhere else.
    assert np.median(np.hypot(downwards, rightwards)) >= 1 - rounding


def test_no_two_figures_are_alike():
    insides = [figure(U, V) < 0 for figure in FIGURES]
    for index, first in enumerate(insides):
        for second in insides[:index]:
            assert (first ^ second).sum() / SCALE**2 > 0.2

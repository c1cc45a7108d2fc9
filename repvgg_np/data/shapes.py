"""Ten figures as signed distances: the drawing half of the built-in synthetic set.

A signed distance is negative inside a figure, positive outside, and zero on its outline, so that set
operations are plain arithmetic: `maximum` of two distances is the intersection, `minimum` the union, the
minus sign the complement. A pixel whose centre lies d pixels outside the outline is covered by about
`clip(1/2 - d, 0, 1)`: smooth edges for free.

Every function takes the coordinates `u` (rightwards) and `v` (upwards) in the figure's own frame, float32
arrays of one shape, and returns an array of that shape. All figures fit, nearly or wholly, into the circle of
radius 1. Each is its own mirror image, so that a random horizontal flip (`augment.py`) never turns one class
into another.
"""

import math

import numpy as np


def disk(u, v):
    """Draw everything nearer to the centre than 0.9."""
    return np.sqrt(u * u + v * v) - 0.9


def ring(u, v):
    """Draw a band around the circle of radius 0.72."""
    return np.abs(np.sqrt(u * u + v * v) - 0.72) - 0.22


def square(u, v):
    """Draw a filled square of side 1.56."""
    return np.maximum(np.abs(u), np.abs(v)) - 0.78


def triangle(u, v):
    """Draw three half-planes around the centre: a point has to be inside all of them."""
    return _largest_two(_half_planes(u, v, 3, 0.5))[0]


def star(u, v):
    """Draw five half-planes around the centre: a point of the pentagram may be outside one of them."""
    return _largest_two(_half_planes(u, v, 5, 0.33))[1]


def cross(u, v):
    """Draw two bars at a right angle."""
    along, across = np.abs(u), np.abs(v)
    return np.minimum(np.maximum(along - 0.95, across - 0.3), np.maximum(along - 0.3, across - 0.95))


def heart(u, v):
    """Draw a square standing on its corner, and a disk on each of its two upper sides."""
    radius = 0.6
    middle = radius / math.sqrt(2)  # of the upper right side, in both coordinates
    u = np.abs(u)
    v = v + 0.1  # put the middle of the figure into the middle of the frame
    lobe = np.sqrt((u - middle) ** 2 + (v - middle) ** 2) - radius
    body = (u + np.abs(v)) / math.sqrt(2) - radius
    return np.minimum(lobe, body)


def crescent(u, v):
    """Draw a disk from which a second, shifted disk is taken away."""
    whole = np.sqrt(u * u + v * v) - 0.98
    bite = np.sqrt((u - 0.5) ** 2 + v * v) - 0.75
    return np.maximum(whole, -bite)


def stripes(u, v):
    """Draw a disk cut into parallel stripes."""
    return np.maximum(disk(u, v), _wave(u))


def checkers(u, v):
    """Draw a disk cut into a chessboard: inside a stripe of one direction, but not of both."""
    across, along = _wave(u), _wave(v)
    board = np.maximum(np.minimum(across, along), -np.maximum(across, along))
    return np.maximum(disk(u, v), board)


FIGURES = (disk, ring, square, triangle, star, cross, heart, crescent, stripes, checkers)
"""The classes of the synthetic set, in the order of their labels, and named like these functions."""


def _half_planes(u, v, count, distance):
    """Yield signed distances to `count` half-planes, evenly turned, with edges `distance` off the centre."""
    for index in range(count):
        angle = 2 * math.pi * index / count - math.pi / 2  # the first one has its edge at the bottom
        yield math.cos(angle) * u + math.sin(angle) * v - distance


def _largest_two(arrays):
    """Return the elementwise largest and second largest of several arrays."""
    first = second = -np.inf
    for array in arrays:
        second = np.maximum(second, np.minimum(first, array))
        first = np.maximum(first, array)
    return first, second


def _wave(u, period=0.6):
    """Return the signed distance to stripes of the width `period / 2` along v, one of them at u = 0."""
    turns = u / period
    turns -= np.round(turns)  # -1/2 .. 1/2, zero in the middle of a stripe
    return (np.abs(turns) - 0.25) * period

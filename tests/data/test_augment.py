import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np.data import normalise, random_crop_and_flip

from .refusal import refused
from .strategies import channel_statistics, images, seeds

MEAN, STD = np.array([0.4, 0.5, 0.6], np.float32), np.array([0.1, 0.2, 0.3], np.float32)
PICTURES = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(images(), channel_statistics())
def test_normalisation_is_the_plain_formula_bit_by_bit(dtype, pixels, statistics):
    mean, std = (values.astype(dtype)[:, None, None] for values in statistics)
    expected = (pixels.astype(dtype) / dtype(255) - mean) / std
    found = normalise(pixels, *statistics, dtype=dtype)
    assert found.dtype == expected.dtype == dtype
    assert found.shape == pixels.shape
    assert np.array_equal(found, expected)


@given(images(), channel_statistics())
def test_normalised_pictures_have_their_channels_last_in_memory(pixels, statistics):
    assert normalise(pixels, *statistics).transpose(0, 2, 3, 1).flags.c_contiguous


@given(images(), channel_statistics())
def test_normalisation_does_not_depend_on_the_memory_order_of_the_pixels(pixels, statistics):
    other_order = np.ascontiguousarray(pixels.transpose(3, 0, 2, 1)).transpose(1, 3, 2, 0)
    assert np.array_equal(normalise(other_order, *statistics), normalise(pixels, *statistics))


def test_every_pixel_value_is_normalised_right_in_every_channel():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16).repeat(3, axis=1)
    found = normalise(pixels, [0, 0, 0.5], [1, 0.5, 0.25], dtype=np.float64)
    for value in range(256):
        fraction = value / 255
        place = divmod(value, 16)
        assert found[(0, 0, *place)] == fraction
        assert found[(0, 1, *place)] == fraction * 2
        assert found[(0, 2, *place)] == (fraction - 0.5) * 4


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        ((PICTURES.astype(np.float32), MEAN, STD), ["images must be a uint8 array", "float32"]),
        ((PICTURES[0], MEAN, STD), ["images must be a uint8 array (N, C, H, W)", "(3, 32, 32)"]),
        ((PICTURES.tolist(), MEAN, STD), ["images must be a uint8 array", "list"]),
        ((PICTURES[:, :1], MEAN, STD), ["(N, 3, H, W)", "(4, 1, 32, 32)"]),
        ((PICTURES, MEAN[:2], STD), ["mean must be three numbers", "(2,)"]),
        ((PICTURES, MEAN, 0.5), ["std must be three numbers", "()"]),
        ((PICTURES, MEAN, ["a", "b", "c"]), ["std must be three numbers", "<U1"]),
        ((PICTURES, [0, np.nan, 0], STD), ["mean must be finite", "nan"]),
        ((PICTURES, MEAN, [1, 0, 1]), ["std must be positive", "0"]),
        ((PICTURES, MEAN, [1, -1, 1]), ["std must be positive", "-1"]),
        ((PICTURES, MEAN, STD, np.float16), ["dtype must be float32 or float64", "float16"]),
    ],
)
def test_normalisation_refuses_what_it_cannot_use(arguments, fragments):
    with refused(*fragments):
        normalise(*arguments)


def reflected_pixel(image, row, column):
    """The pixel of a (C, H, W) picture that is continued by its mirror image without repeating the border."""
    _, height, width = image.shape
    row = -row if row < 0 else 2 * (height - 1) - row if row >= height else row
    column = -column if column < 0 else 2 * (width - 1) - column if column >= width else column
    return image[:, row, column]


def windows_of_the_reflected_picture(image, padding):
    """All that the augmentation may make of a picture, as bytes."""
    _, height, width = image.shape
    for top in range(-padding, padding + 1):
        for left in range(-padding, padding + 1):
            window = np.empty_like(image)
            for row in range(height):
                for column in range(width):
                    window[:, row, column] = reflected_pixel(image, top + row, left + column)
            yield window.tobytes()
            yield window[:, :, ::-1].tobytes()


@given(images(max_count=4, max_side=6), st.integers(0, 3), seeds)
def test_every_crop_is_a_window_of_the_reflected_picture_flipped_or_not(pixels, padding, seed):
    padding = min(padding, min(pixels.shape[2:]) - 1)
    before = pixels.copy()
    crops = random_crop_and_flip(pixels, np.random.default_rng(seed), padding)
    assert crops.dtype == np.uint8
    assert crops.shape == pixels.shape
    assert np.array_equal(pixels, before)
    for image, crop in zip(pixels, crops, strict=True):
        assert crop.tobytes() in set(windows_of_the_reflected_picture(image, padding))


def test_every_shift_occurs_flipped_and_not_about_equally_often():
    count, padding = 40_000, 1
    picture = np.arange(9, dtype=np.uint8).reshape(1, 1, 3, 3)
    crops = random_crop_and_flip(picture.repeat(count, axis=0), np.random.default_rng(0), padding)
    found, times = np.unique(crops.reshape(count, -1), axis=0, return_counts=True)
    expected = set(windows_of_the_reflected_picture(picture[0], padding))
    # Shifted to the left or to the right, the columns are 1 0 1 or 1 2 1: their own mirror image, whether
    # flipped or not.
    assert {row.tobytes() for row in found} == expected
    for row, number in zip(found, times, strict=True):
        mirrored = row.reshape(3, 3)[:, ::-1].ravel()
        probability = 1 / 9 if np.array_equal(row, mirrored) else 1 / 18
        deviation = np.sqrt(count * probability * (1 - probability))
        assert abs(number - count * probability) < 5 * deviation  # one of 1.7 million would be farther off


def test_without_padding_a_picture_is_flipped_or_left_alone():
    crops = random_crop_and_flip(PICTURES.repeat(8, axis=0), np.random.default_rng(0), padding=0)
    flipped = [np.array_equal(crop, PICTURES[i // 8][:, :, ::-1]) for i, crop in enumerate(crops)]
    kept = [np.array_equal(crop, PICTURES[i // 8]) for i, crop in enumerate(crops)]
    assert all(f != k for f, k in zip(flipped, kept, strict=True))
    assert any(flipped)
    assert any(kept)


@given(seeds)
def test_the_augmentation_is_a_function_of_the_random_state(seed):
    first, second = (random_crop_and_flip(PICTURES, np.random.default_rng(seed)) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("pixels", "padding", "fragments"),
    [
        (PICTURES.astype(np.float32), 4, ["images must be a uint8 array", "float32"]),
        (PICTURES, -1, ["padding must be at least 0", "-1"]),
        (PICTURES, 1.5, ["padding must be an integer", "1.5"]),
        (PICTURES, 32, ["padding must be less than", "32x32", "got 32"]),
    ],
)
def test_the_augmentation_refuses_what_it_cannot_use(pixels, padding, fragments):
    with refused(*fragments):
        random_crop_and_flip(pixels, np.random.default_rng(0), padding)

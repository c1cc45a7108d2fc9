"""Which algorithm is chosen: what must hold, whatever a cycle costs on the machine at hand."""

from hypothesis import given
from hypothesis import strategies as st

from repvgg_np.kernels import choose_algorithm

strides = st.sampled_from([1, 2])
sixteens = st.integers(1, 40).map(lambda n: 16 * n)
sides = st.integers(1, 60)


def choice(height, width, depth, columns, stride, groups=1, n=1):
    """Choose for a 3x3 kernel and an output of that size."""
    size = (stride * height, stride * width)  # with a border of one pixel
    shape = (n, depth * groups, *size)
    return choose_algorithm(shape, (columns * groups, depth, 3, 3), (stride, stride), (1, 1), groups)


@given(sides, sides, sixteens, sixteens, strides, st.integers(1, 500), st.integers(1, 500))
def test_where_winograd_pays_it_pays_for_more_pictures(height, width, depth, columns, stride, n, more):
    # What is saved grows with the batch, what the larger kernel costs does not.
    if choice(height, width, depth, columns, stride, n=n) == "winograd":
        assert choice(height, width, depth, columns, stride, n=n + more) == "winograd"


def test_pictures_of_one_tile_are_worth_the_larger_kernel_if_there_are_many():
    assert choice(4, 4, 128, 128, 1, n=1) == "im2col"
    assert choice(4, 4, 128, 128, 1, n=128) == "winograd"


@given(sides, sides, sixteens, sixteens, strides, st.integers(1, 3))
def test_where_winograd_pays_it_pays_with_twice_as_many_channels(height, width, depth, columns, stride, groups):
    # Products grow fourfold, as the kernels do; transforms only twofold.
    if choice(height, width, depth, columns, stride, groups) == "winograd":
        assert choice(height, width, 2 * depth, 2 * columns, stride, groups) == "winograd"


@given(sides, sides, sixteens, sixteens, strides)
def test_where_winograd_pays_it_pays_for_a_picture_of_more_whole_tiles(down, across, depth, columns, stride):
    # What is saved grows with the picture, what the larger kernel costs does not.
    if choice(4 * down, 4 * across, depth, columns, stride) == "winograd":
        assert choice(8 * down, 4 * across, depth, columns, stride) == "winograd"
        assert choice(4 * down, 8 * across, depth, columns, stride) == "winograd"


@given(sides, sides, st.integers(1, 700), st.integers(1, 700), strides, st.integers(1, 4))
def test_winograd_is_never_chosen_where_it_multiplies_more(height, width, depth, columns, stride, groups):
    tiles, numbers = -(-height // 4) * -(-width // 4), {1: 36, 2: 81}[stride]
    if tiles * numbers >= 9 * height * width:
        assert choice(height, width, depth, columns, stride, groups) != "winograd"


@given(sides, sides, st.integers(2, 700), strides)
def test_one_input_channel_is_never_worth_the_transforms(height, width, columns, stride):
    assert choice(height, width, 1, columns, stride) == "im2col"


@given(st.integers(2, 9), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
def test_depthwise_is_chosen_exactly_where_every_channel_is_a_group(channels, k_h, k_w, s_h, s_w):
    shape = (1, channels, 8, 8)
    geometry = ((s_h, s_w), (1, 1))
    assert choose_algorithm(shape, (channels, 1, k_h, k_w), *geometry, channels) == "depthwise"
    assert choose_algorithm(shape, (2 * channels, 1, k_h, k_w), *geometry, channels) != "depthwise"
    assert choose_algorithm(shape, (channels, channels, k_h, k_w), *geometry, 1) != "depthwise"


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4))
def test_winograd_is_for_3x3_kernels_at_stride_1_or_2_only(k_h, k_w, s_h, s_w):
    algorithm = choose_algorithm((1, 512, 64, 64), (512, 512, k_h, k_w), (s_h, s_w), (1, 1), 1)
    fits = (k_h, k_w) == (3, 3) and (s_h, s_w) in ((1, 1), (2, 2))
    assert algorithm == ("winograd" if fits else "im2col")

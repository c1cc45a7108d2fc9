"""One picture from a file, in the size that a network expects."""

import numpy as np


def read_picture(path, size):
    """Read a picture, cut out its central square, and scale that by averaging over areas.

    Parameters
    ----------
    path : str or os.PathLike
        PNG, JPEG or whatever else Matplotlib reads.
    size : int
        Height and width to return.

    Returns
    -------
    ndarray (3, size, size) uint8

    Raises
    ------
    ValueError
        If the file cannot be read, or holds no picture.
    """
    from matplotlib import image

    try:
        pixels = np.asarray(image.imread(path))
    except (OSError, ValueError, SyntaxError) as error:  # SyntaxError: what Pillow makes of a broken PNG
        raise ValueError(f"cannot read {path} as a picture: {' '.join(str(error).split())}") from error
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)  # grey
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise ValueError(f"cannot read {path} as a picture: its shape is {pixels.shape}")
    if pixels.dtype == np.uint8:
        pixels = pixels / 255
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[top : top + side, left : left + side, :3].astype(np.float64)
    shrink = _area_weights(side, size)
    scaled = np.einsum("ik,klc,jl->cij", shrink, square, shrink, optimize=True)
    return np.clip(np.rint(255 * scaled), 0, 255).astype(np.uint8)


def _area_weights(old, new):
    """Return the (new, old) matrix that averages each new pixel over the old ones that it covers, in part or whole."""
    edges = np.linspace(0, old, new + 1)
    low, high = edges[:-1, None], edges[1:, None]
    pixel = np.arange(old)
    overlap = np.clip(np.minimum(high, pixel + 1) - np.maximum(low, pixel), 0, None)
    return overlap / overlap.sum(axis=1, keepdims=True)

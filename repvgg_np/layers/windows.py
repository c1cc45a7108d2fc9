"""How many windows fit on a picture: what convolutions and poolings have in common."""


def window_counts(shape, kernel_size, stride, padding):
    """Return how many windows fit down and across.

    Parameters
    ----------
    shape : tuple
        (C, H, W)
    kernel_size, stride, padding : pair of int

    Returns
    -------
    tuple of two int

    Raises
    ------
    ValueError
        If not even one fits.
    """
    if any(size + 2 * pad < k for size, k, pad in zip(shape[1:], kernel_size, padding, strict=True)):
        raise ValueError(
            f"x must be at least as large as the {kernel_size[0]}x{kernel_size[1]} window, got "
            f"{shape[1]}x{shape[2]} with padding {padding}"
        )
    sizes = zip(shape[1:], kernel_size, stride, padding, strict=True)
    return tuple((size + 2 * pad - k) // step + 1 for size, k, step, pad in sizes)

"""One door for all files of weights: the format is recognised by its content, not by its name.

==================  ========================================  =======================================
format              begins with                               distinguished by
==================  ========================================  =======================================
safetensors         the header's length (8 bytes), then `{`
`.npz`              `PK`, as all zip archives                 all members are called `NAME.npy`
PyTorch since 1.6   `PK`, as all zip archives                 a member `FOLDER/data.pkl`
PyTorch before 1.6  0x80, as all pickles since protocol 2     refused: it is nothing but a pickle
==================  ========================================  =======================================
"""

from repvgg_np.interop.bounded_zip import open_archive
from repvgg_np.interop.files import reading
from repvgg_np.interop.names import official_names, without_data_parallel
from repvgg_np.interop.npz import MAGIC, SUFFIX, read_npz
from repvgg_np.interop.safetensors import LENGTH_SIZE, MAX_HEADER, read_safetensors
from repvgg_np.interop.torch_zip import is_torch_archive, read_torch_zip


def load_weights(path):
    """Read named arrays from a `.npz`, a `.safetensors` or a `.pth` file, whatever its suffix.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    dict[str, ndarray]
        timm's names of a RepVGG are changed to the official repository's, a prefix `module.` on every name
        (`nn.DataParallel`) is taken off; other names come as they are in the file.

    Raises
    ------
    ValueError
        If the file cannot be read, is none of these formats, is damaged, or holds no arrays. Nothing in a
        file is ever executed.
    """
    with reading(path) as file:
        read = _recognise(file)
    state = read(path)
    with reading(path):  # what is wrong with the names is the file's fault as well
        if not state:
            raise ValueError("it holds no arrays")
        return official_names(without_data_parallel(state))


def _recognise(file):
    """Return the function that reads such a file: path -> dict of arrays."""
    start = file.read(LENGTH_SIZE + 1)
    if start[LENGTH_SIZE:] == b"{" and int.from_bytes(start[:LENGTH_SIZE], "little") <= MAX_HEADER:
        return lambda path: read_safetensors(path)[0]
    if start.startswith((b"PK\3\4", b"PK\5\6")):
        with open_archive(file) as archive:
            names = archive.namelist()
        if is_torch_archive(names):
            return read_torch_zip
        if all(name.endswith(SUFFIX) for name in names):
            return lambda path: read_npz(path)[0]
        raise ValueError("it is a zip archive, but neither an .npz nor written by torch.save")
    if start.startswith(MAGIC):
        raise ValueError("it is a single array (.npy), weights need their names: save them with numpy.savez")
    if start.startswith(b"\x80"):
        raise ValueError(
            "it is a bare pickle, as PyTorch wrote before version 1.6; if you trust it, re-save it with a "
            "newer PyTorch: torch.save(torch.load(path, map_location='cpu'), path)"
        )
    raise ValueError("it is neither .npz, .safetensors nor a file of torch.save")

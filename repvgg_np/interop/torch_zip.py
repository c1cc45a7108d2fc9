"""PyTorch's `.pth` (`.pt`, `.pth.tar`, whatever the suffix) since version 1.6, read without PyTorch.

`torch.save` writes a zip archive, its members uncompressed and under one folder, mostly called `archive/`:

- `data.pkl`: a pickle of the saved object in which each tensor is a call of `torch._utils._rebuild_tensor_v2`
  with a reference to a storage, an offset into it, the sizes and the strides;
- `data/0`, `data/1`, ...: the storages, bare numbers. Several tensors may look at one;
- `byteorder`: `little` or `big` (absent in old files, which are little-endian); `version` and others: not
  needed.

The pickle goes through `restricted_pickle`, which cannot run anything and gives back records of where tensors
lie. Here it is then checked that they lie inside their storages, and only what belongs to the state dict is
read.
"""

from collections import Counter

import numpy as np

from repvgg_np.interop.bounded_zip import open_archive, read_member
from repvgg_np.interop.files import BFLOAT16, decode, element_count, reading, shown
from repvgg_np.interop.restricted_pickle import TensorRecord, run

PROGRAM = "data.pkl"
MAX_PROGRAM = 64 << 20  # bytes
# Where a training script keeps the state dict inside of its checkpoint, by preference.
WRAPPERS = ("state_dict", "model", "state_dict_ema")
# Tensors may share a storage and each becomes an array of its own. All of them together may take this many
# times the bytes of the storages, plus an allowance: a few shared layers pass, a file made to fill the memory
# does not.
MAX_SHARING = 4
SHARING_ALLOWANCE = 16 << 20  # bytes


def read_torch_zip(path):
    """Read the state dict of a file written by `torch.save`; nothing in the file is executed.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    dict[str, ndarray]
        The tensors of the state dict, or of the one that a checkpoint keeps under `state_dict`, `model` or
        `state_dict_ema`. C-contiguous, in native byte order, none sharing memory; bfloat16 comes as float32.
        Entries that are not tensors are left out.

    Raises
    ------
    ValueError
        If the file cannot be read, is damaged, contradicts itself, or holds more than tensors and plain
        containers; a function that its pickle wanted to call is named.
    """
    with reading(path) as file, open_archive(file) as archive:
        folder = _folder(archive)
        if archive.getinfo(folder + PROGRAM).file_size > MAX_PROGRAM:
            raise ValueError(f"its pickle has more than {MAX_PROGRAM} bytes")
        saved = run(read_member(archive, folder + PROGRAM).tobytes())
        return _read_tensors(archive, folder, _state_dict(saved))


def is_torch_archive(names):
    """Tell from the names of a zip archive's members whether `torch.save` wrote it."""
    return any(name.split("/")[1:] == [PROGRAM] for name in names)


def _folder(archive):
    """Return the one folder of the archive, with its slash."""
    folders = [name.removesuffix(PROGRAM) for name in archive.namelist() if is_torch_archive([name])]
    if len(folders) != 1:
        raise ValueError(f"it has {len(folders)} members FOLDER/{PROGRAM}, one expected")
    return folders[0]


def _state_dict(saved):
    """Find the state dict in what was saved: {name: TensorRecord}."""
    if type(saved) is not dict:
        raise ValueError(f"it holds a {type(saved).__name__}, not a state dict")
    inner = next((saved[key] for key in WRAPPERS if type(saved.get(key)) is dict), saved)
    state = {name: value for name, value in inner.items() if type(value) is TensorRecord}
    if not state:
        raise ValueError(f"it holds no state dict: no tensors among {shown(', '.join(inner))}")
    return state


def _read_tensors(archive, folder, state):
    """Make an array of each record; a storage is read once and forgotten after its last use."""
    byte_order = _byte_order(archive, folder)
    uses = Counter(record.storage for record in state.values())
    # The checks come first and for all, so that a hostile file is refused before much is read.
    for name, record in state.items():
        _check(name, record, archive, folder)
    members = {_member(folder, storage) for storage in uses}
    stored = sum(archive.getinfo(member).file_size for member in members)
    needed = sum(_itemsize(record.storage) * element_count(record.shape) for record in state.values())
    if needed > MAX_SHARING * stored + SHARING_ALLOWANCE:
        raise ValueError(f"its tensors share {stored} bytes so often that they would need {needed}")
    arrays, storages = {}, {}
    for name, record in state.items():
        storage = record.storage
        if storage not in storages:
            storages[storage] = decode(read_member(archive, _member(folder, storage)), storage.dtype, byte_order)
        arrays[name] = _view(storages[storage], record).copy(order="C")
        uses[storage] -= 1
        if uses[storage] == 0:
            del storages[storage]
    return arrays


def _byte_order(archive, folder):
    """Return NumPy's sign for the byte order in which the storages were written."""
    if folder + "byteorder" not in archive.namelist():
        return "<"
    word = read_member(archive, folder + "byteorder").tobytes()
    if word not in (b"little", b"big"):
        raise ValueError("its byteorder is neither little nor big")
    return "<" if word == b"little" else ">"


def _member(folder, storage):
    """Return the name of the member that holds a storage."""
    return f"{folder}data/{storage.key}"


def _itemsize(storage):
    """Return the bytes that one element takes in the file."""
    return 2 if storage.dtype == BFLOAT16 else np.dtype(storage.dtype).itemsize


def _check(name, record, archive, folder):
    """Check that a tensor lies inside its storage, and the storage is as long as the pickle says."""
    storage, name = record.storage, shown(name)
    try:
        present = archive.getinfo(_member(folder, storage)).file_size
    except KeyError as error:
        raise ValueError(f"the storage {shown(storage.key)} of tensor {name} is missing") from error
    if storage.length * _itemsize(storage) != present:
        raise ValueError(
            f"the storage of tensor {name} should have {storage.length} elements "
            f"of {_itemsize(storage)} bytes, it has {present} bytes"
        )
    count = element_count(record.shape)
    element_count(record.strides)  # checks them as it checks sizes; as a number it means nothing
    if len(record.strides) != len(record.shape):
        raise ValueError(f"tensor {name} has {len(record.shape)} sizes and {len(record.strides)} strides")
    if record.offset < 0:
        raise ValueError(f"tensor {name} begins at {record.offset}, before its storage")
    if count > storage.length:
        raise ValueError(f"tensor {name} has {count} elements, its storage only {storage.length}")
    reach = sum((size - 1) * stride for size, stride in zip(record.shape, record.strides, strict=True))
    if count and record.offset + reach >= storage.length:
        raise ValueError(
            f"tensor {name} reaches to element {record.offset + reach} of a storage of {storage.length} elements"
        )


def _view(numbers, record):
    """See a storage as the record says, without copying; the record has been checked."""
    if 0 in record.shape:
        return np.empty(record.shape, numbers.dtype)
    # A stride along a single element is never taken, and may be any number.
    strides = [
        stride * numbers.itemsize if size > 1 else 0 for size, stride in zip(record.shape, record.strides, strict=True)
    ]
    return np.lib.stride_tricks.as_strided(numbers[record.offset :], record.shape, strides)

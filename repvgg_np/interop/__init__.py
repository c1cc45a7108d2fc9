"""Names and files of other worlds: `.npz`, safetensors, PyTorch's `.pth`; official names and timm's.

Files are read with distrust: nothing in them is executed, no size that they claim is believed, and whatever
is wrong with one is a `ValueError` of one line.
"""

from repvgg_np.interop.names import official_names, timm_names
from repvgg_np.interop.npz import read_npz, save_npz
from repvgg_np.interop.safetensors import read_safetensors, save_safetensors
from repvgg_np.interop.torch_zip import read_torch_zip
from repvgg_np.interop.weights import load_weights

__all__ = [
    "load_weights",
    "official_names",
    "read_npz",
    "read_safetensors",
    "read_torch_zip",
    "save_npz",
    "save_safetensors",
    "timm_names",
]

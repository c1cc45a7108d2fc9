"""RepVGG in NumPy and Numba: every floating-point operation in Python that can be read."""

from repvgg_np.fuse import fuse
from repvgg_np.interop import load_weights
from repvgg_np.models import create_model, list_models, load, load_pretrained, save
from repvgg_np.verify import verify_fusion

__version__ = "0.1.0"

__all__ = [
    "create_model",
    "fuse",
    "list_models",
    "load",
    "load_pretrained",
    "load_weights",
    "save",
    "verify_fusion",
]

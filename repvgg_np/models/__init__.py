"""Networks: by name, and in files."""

from repvgg_np.models.files import load, save
from repvgg_np.models.network import Baseline, Config, Network
from repvgg_np.models.pretrained import load_pretrained, pretrained_path
from repvgg_np.models.registry import CONFIGS, create_model, find_model, list_models
from repvgg_np.models.repvgg import RepVGG, RepVGGConfig

__all__ = [
    "CONFIGS",
    "Baseline",
    "Config",
    "Network",
    "RepVGG",
    "RepVGGConfig",
    "create_model",
    "find_model",
    "list_models",
    "load",
    "load_pretrained",
    "pretrained_path",
    "save",
]

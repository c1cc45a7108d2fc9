"""Data sets: reading and downloading CIFAR, the built-in synthetic set, batches, augmentation."""

from repvgg_np.data.augment import normalise, random_crop_and_flip
from repvgg_np.data.augmentation import Augmentation
from repvgg_np.data.batches import batches
from repvgg_np.data.cutout import cutout
from repvgg_np.data.dataset import Dataset, mean_and_std
from repvgg_np.data.flips import FLIPS_BY_NAME, alternating_flips
from repvgg_np.data.hold_out import hold_out
from repvgg_np.data.load import DATASETS, load_dataset
from repvgg_np.data.picture import read_picture
from repvgg_np.data.rand_augment import STRONGEST, rand_augment
from repvgg_np.data.shrink import shrink
from repvgg_np.data.synthetic import synthetic_dataset

__all__ = [
    "DATASETS",
    "FLIPS_BY_NAME",
    "STRONGEST",
    "Augmentation",
    "Dataset",
    "alternating_flips",
    "batches",
    "cutout",
    "hold_out",
    "load_dataset",
    "mean_and_std",
    "normalise",
    "rand_augment",
    "random_crop_and_flip",
    "read_picture",
    "shrink",
    "synthetic_dataset",
]

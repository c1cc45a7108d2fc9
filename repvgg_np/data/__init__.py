"""Data sets: reading and downloading CIFAR, the built-in synthetic set, batches, augmentation."""

from repvgg_np.data.augment import normalise, random_crop_and_flip
from repvgg_np.data.batches import batches
from repvgg_np.data.dataset import Dataset, mean_and_std
from repvgg_np.data.load import DATASETS, load_dataset
from repvgg_np.data.picture import read_picture
from repvgg_np.data.synthetic import synthetic_dataset

__all__ = [
    "DATASETS",
    "Dataset",
    "batches",
    "load_dataset",
    "mean_and_std",
    "normalise",
    "random_crop_and_flip",
    "read_picture",
    "synthetic_dataset",
]

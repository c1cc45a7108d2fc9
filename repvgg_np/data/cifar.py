"""CIFAR-10 and CIFAR-100 in their official binary layout.

A file is a row of records without any header. A record is one label byte (CIFAR-100 has two: the coarse
label, then the fine one, which is the one used here), then 3072 pixel bytes: the red, the green and the blue
plane, 32 rows of 32 each.

The data may be a folder with the files, a folder with the official folder or the official archive in it, or
an archive. Files with fewer records than the official ones are welcome: extracts make quick experiments.
"""

import dataclasses
import os
from pathlib import Path

import numpy as np

from repvgg_np.data.checks import check_choice, check_split
from repvgg_np.data.dataset import Dataset
from repvgg_np.data.download import download as fetch
from repvgg_np.data.sources import ARCHIVE_ENDINGS, Wanted, read_files

PIXELS = 3 * 32 * 32


@dataclasses.dataclass(frozen=True)
class Layout:
    """What one of the two data sets consists of.

    Parameters
    ----------
    folder, archive : str
        The names of the official folder and of the archive that holds it.
    md5, size : str, int
        The archive's published checksum and its number of bytes.
    files : dict of str to tuple of str
        The names of the files of each split.
    records : dict of str to int
        How many records each file of a split has.
    label_counts : tuple of int
        For each label byte of a record, the number of its classes. The last one is the label.
    names_file : str
        The file that holds the names of the classes, one per line.
    classes : tuple of str
        The same names, for a folder without that file.
    """

    folder: str
    archive: str
    md5: str
    size: int
    files: dict
    records: dict
    label_counts: tuple
    names_file: str
    classes: tuple

    @property
    def record_size(self):
        """The number of bytes of one record."""
        return len(self.label_counts) + PIXELS


def _words(text):
    """Return the words of a text as a tuple."""
    return tuple(text.split())


ADDRESS = "https://www.cs.toronto.edu/~kriz/"

LAYOUTS = {
    "cifar10": Layout(
        folder="cifar-10-batches-bin",
        archive="cifar-10-binary.tar.gz",
        md5="c32a1d4ab5d03f1284b67883e8d87530",
        size=170052171,
        files={
            "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
            "test": ("test_batch.bin",),
        },
        records={"train": 10_000, "test": 10_000},
        label_counts=(10,),
        names_file="batches.meta.txt",
        classes=_words("airplane automobile bird cat deer dog frog horse ship truck"),
    ),
    "cifar100": Layout(
        folder="cifar-100-binary",
        archive="cifar-100-binary.tar.gz",
        md5="03b5dce01913d631647c71ecec9e9cb8",
        size=168513733,
        files={"train": ("train.bin",), "test": ("test.bin",)},
        records={"train": 50_000, "test": 10_000},
        label_counts=(20, 100),
        names_file="fine_label_names.txt",
        classes=_words(
            """
            apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
            camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile
            cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp
            lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree
            orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum
            rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
            squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train
            trout tulip turtle wardrobe whale willow_tree wolf woman worm
            """
        ),
    ),
}


def load_cifar(name, split, data_dir=None, download=False):
    """Read one split of CIFAR-10 or CIFAR-100.

    Parameters
    ----------
    name : {"cifar10", "cifar100"}
        Which of the two.
    split : {"train", "test"}
        Which split.
    data_dir : str, os.PathLike or None, optional
        The folder with the `.bin` files; or one with the official folder or archive in it; or an archive
        (`.tar.gz`, `.tgz`, `.tar`). With None it is `default_data_dir()`.
    download : bool, optional
        Whether to fetch the official archive into the folder `data_dir` if nothing is there.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        If the files are missing or cannot be read, are truncated or damaged, or hold a label that does not
        exist.
    """
    check_choice("data set", name, tuple(LAYOUTS))
    check_split(split)
    layout = LAYOUTS[name]
    source = _find(layout, split, data_dir, download)

    wanted = {file: Wanted(layout.record_size, layout.records[split]) for file in layout.files[split]}
    wanted[layout.names_file] = Wanted(record_size=1, most=1 << 16, required=False)
    contents = read_files(source, wanted)
    classes = _class_names(source, layout, contents.get(layout.names_file))
    parts = [_decode(f"{source}: {file}", contents[file], layout) for file in layout.files[split]]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Dataset(images, labels, classes, name)


def default_data_dir():
    """Return where data sets are looked for: $REPVGG_NP_DATA, or `repvgg_np` in the user's cache folder."""
    if os.environ.get("REPVGG_NP_DATA"):
        return Path(os.environ["REPVGG_NP_DATA"])
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache):  # unset, or a relative path, which the XDG specification tells us to ignore
        cache = os.path.expanduser("~/.cache")
    return Path(cache, "repvgg_np")


def _find(layout, split, data_dir, download):
    """Return the folder or the archive to read, as `load_cifar` describes."""
    if data_dir is not None and not isinstance(data_dir, (str, os.PathLike)):
        raise ValueError(f"data_dir must be a path, got {data_dir!r}")
    place = Path(os.path.expanduser(default_data_dir() if data_dir is None else data_dir))
    files = layout.files[split]
    try:
        if place.name.endswith(ARCHIVE_ENDINGS) and not place.is_dir():
            if place.is_file():
                return place
            raise ValueError(f"the archive {place} does not exist")
        if place.is_file():
            endings = ", ".join(ARCHIVE_ENDINGS)
            raise ValueError(f"data_dir must be a folder or an archive ({endings}), got the file {place}")
        for folder in (place, place / layout.folder):
            if all((folder / file).is_file() for file in files):
                return folder
        if (place / layout.archive).is_file():
            return place / layout.archive
        if download:
            return fetch(ADDRESS + layout.archive, place / layout.archive, layout.md5, size=layout.size)

        if not place.exists():
            problem = f"the data folder {place} does not exist"
        else:
            folder = place / layout.folder if (place / layout.folder).is_dir() else place
            missing = next(file for file in files if not (folder / file).is_file())
            problem = f"{folder} has no {missing}, and {place} has no {layout.archive}"
    except OSError as error:
        raise ValueError(f"cannot look into {place}: {error.strerror or error}") from error
    raise ValueError(f"{problem}; --download (download=True in Python) fetches it")


def _class_names(source, layout, content):
    """Return the class names that the names file holds, or the built-in ones if there is no such file."""
    if content is None:
        return layout.classes
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{source}: {layout.names_file} is not UTF-8 text: {error.reason}") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if len(names) != len(layout.classes):
        raise ValueError(f"{source}: {layout.names_file} has {len(names)} names, expected {len(layout.classes)}")
    return names


def _decode(where, content, layout):
    """Return the images, uint8 (N, 3, 32, 32), and the labels, int64 (N,), of one file."""
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, layout.record_size)
    for column, count in enumerate(layout.label_counts):
        wrong = np.flatnonzero(records[:, column] >= count)
        if len(wrong):
            label = records[wrong[0], column]
            raise ValueError(f"{where}: record {wrong[0]} (from 0) has the label {label}, expected 0 to {count - 1}")
    label_bytes = len(layout.label_counts)
    return records[:, label_bytes:].reshape(-1, 3, 32, 32), records[:, label_bytes - 1].astype(np.int64)

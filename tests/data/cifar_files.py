"""Write files in the layout of CIFAR, byte by byte: this shares nothing with the reader."""

import io
import tarfile

import numpy as np

FILES = {
    ("cifar10", "train"): [f"data_batch_{number}.bin" for number in (1, 2, 3, 4, 5)],
    ("cifar10", "test"): ["test_batch.bin"],
    ("cifar100", "train"): ["train.bin"],
    ("cifar100", "test"): ["test.bin"],
}
NAMES = ("cifar10", "cifar100")
FOLDER = {"cifar10": "cifar-10-batches-bin", "cifar100": "cifar-100-binary"}
ARCHIVE = {"cifar10": "cifar-10-binary.tar.gz", "cifar100": "cifar-100-binary.tar.gz"}
CLASSES = {"cifar10": 10, "cifar100": 100}


def random_split(name, split, rng, records_per_file=3):
    """Return random contents for the files of a split, by name, with the images and the labels they hold."""
    contents, images, labels = {}, [], []
    for file in FILES[name, split]:
        content = b""
        for _ in range(records_per_file):
            image = rng.integers(0, 256, (3, 32, 32), dtype=np.uint8)
            label = int(rng.integers(CLASSES[name]))
            coarse = bytes([int(rng.integers(20))]) if name == "cifar100" else b""
            content += coarse + bytes([label]) + image.tobytes()
            images.append(image)
            labels.append(label)
        contents[file] = content
    return contents, np.array(images), np.array(labels)


def write_folder(folder, contents):
    """Write files into a folder, which is made if need be; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


def tar_bytes(members, compression="gz"):
    """Return an archive of (name or TarInfo, content) pairs."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}") as archive:
        for member, content in members:
            if isinstance(member, str):
                member = tarfile.TarInfo(member)
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def write_archive(path, members):
    """Write an archive of (name or TarInfo, content) pairs, compressed unless it is a .tar; return it."""
    path.write_bytes(tar_bytes(members, "" if path.suffix == ".tar" else "gz"))
    return path


def in_folder(folder, contents):
    """Return members whose names have the folder's name in front."""
    return [(f"{folder}/{name}", content) for name, content in contents.items()]


def lay_out(place, folder, name, contents):
    """Put the files where a user may have them; return what the user would give as data_dir."""
    if place == "the files":
        return write_folder(folder, contents)
    if place == "a folder in it":
        write_folder(folder / FOLDER[name], contents)
    elif place == "an archive in it":
        write_archive(folder / ARCHIVE[name], in_folder(FOLDER[name], contents))
    else:
        return write_archive(folder / f"my{place}", in_folder("a/b", contents))
    return folder


PLACES = ["the files", "a folder in it", "an archive in it", ".tar.gz", ".tgz", ".tar"]

"""Damaged CIFAR files and archives give pictures or one line of ValueError, and nothing is ever written.

The ordinary run takes a few hundred of each. For a long one: `REPVGG_NP_FUZZ=20000 pytest tests/data/test_fuzz.py`.
"""

import gzip
import os
import shutil
import tarfile

import numpy as np
import pytest

from repvgg_np.data import load_dataset

from .cifar_files import ARCHIVE, FOLDER, random_split, tar_bytes, write_folder

COUNT = int(os.environ.get("REPVGG_NP_FUZZ", "300"))  # files per format
HOSTILE_NAMES = [
    "../../escaped.bin",
    "/tmp/escaped.bin",
    "test_batch.bin/../../escaped",
    "test_batch.bin\0x",
    "a" * 300,
]
KINDS = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, tarfile.REGTYPE]


def damaged(rng, content):
    """Flip, overwrite, cut, repeat or remove some bytes."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        if not content:
            break
        start = int(rng.integers(len(content)))
        end = start + int(rng.integers(1, 600))
        match rng.integers(6):
            case 0 | 1:
                content[start] ^= 1 << int(rng.integers(8))
            case 2:
                content[start:end] = rng.bytes(end - start)
            case 3:
                del content[start:end]
            case 4:
                content[start:start] = content[start:end]
            case 5:
                if rng.integers(3) == 0:
                    del content[start:]
    return bytes(content)


def hostile_members(rng, contents):
    """Return archive members among which some are links, devices, elsewhere, or lie about their size."""
    members = []
    for name, content in contents.items():
        info = tarfile.TarInfo(f"{FOLDER['cifar10']}/{name}")
        info.size = len(content)
        members.append((info, content))
        if rng.integers(2):
            other = tarfile.TarInfo(
                str(rng.choice(HOSTILE_NAMES)) if rng.integers(2) else f"{FOLDER['cifar10']}/{name}"
            )
            other.type = KINDS[rng.integers(len(KINDS))]
            other.linkname = str(rng.choice(["/etc/passwd", "../../..", name]))
            members.insert(int(rng.integers(len(members) + 1)), (other, b""))
    return members


def folder_case(rng, root, contents):
    """Write damaged files into a folder; return it."""
    return write_folder(root, {name: damaged(rng, content) for name, content in contents.items()})


def archive_case(rng, root, contents):
    """Write a damaged archive into a folder: before or after it was compressed; return the folder."""
    root.mkdir()
    plain = tar_bytes(hostile_members(rng, contents), "")
    match rng.integers(3):
        case 0:
            content = gzip.compress(plain, 1)
        case 1:
            content = gzip.compress(damaged(rng, plain), 1)
        case 2:
            content = damaged(rng, gzip.compress(plain, 1))
    (root / ARCHIVE["cifar10"]).write_bytes(content)
    return root


@pytest.mark.parametrize("make_case", [folder_case, archive_case])
def test_damaged_data_gives_pictures_or_one_line_of_value_error_and_nothing_is_written(make_case, tmp_path):
    contents = random_split("cifar10", "test", np.random.default_rng(0), records_per_file=2)[0]
    contents["batches.meta.txt"] = b"\n".join(b"class %d" % i for i in range(10))
    refused = 0
    for index in range(COUNT):
        rng = np.random.default_rng([7, index])
        root = make_case(rng, tmp_path / str(index), contents)
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        try:
            dataset = load_dataset("cifar10", "test", root)
        except ValueError as error:
            assert str(error).isprintable(), index
            refused += 1
        else:
            assert dataset.images.dtype == np.uint8 and dataset.images.shape[1:] == (3, 32, 32), index
            assert dataset.labels.min() >= 0 and dataset.labels.max() <= 9 and len(dataset) <= 40, index
        after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert after == before and not os.path.exists("/tmp/escaped.bin"), index
        shutil.rmtree(root)
    print(f"{make_case.__name__}: {COUNT} cases, {refused} refused, {COUNT - refused} read")
    assert COUNT // 10 < refused < COUNT


def test_the_archive_is_good_before_it_is_damaged(tmp_path):
    contents, images, labels = random_split("cifar10", "test", np.random.default_rng(0))
    info = [(f"{FOLDER['cifar10']}/{name}", content) for name, content in contents.items()]
    (tmp_path / ARCHIVE["cifar10"]).write_bytes(gzip.compress(tar_bytes(info, "")))
    dataset = load_dataset("cifar10", "test", tmp_path)
    np.testing.assert_array_equal(dataset.images, images)
    np.testing.assert_array_equal(dataset.labels, labels)

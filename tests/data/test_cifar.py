from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repvgg_np.data import load_dataset
from repvgg_np.data.cifar import LAYOUTS

from .cifar_files import FILES, NAMES, PLACES, lay_out, random_split, write_archive, write_folder
from .refusal import refused
from .strategies import seeds, splits

RECORD = {"cifar10": 3073, "cifar100": 3074}


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(NAMES), splits, st.sampled_from(PLACES), st.integers(1, 4), seeds)
def test_reading_gives_what_was_written(tmp_path_factory, name, split, place, records, seed):
    contents, images, labels = random_split(name, split, np.random.default_rng(seed), records)
    dataset = load_dataset(name, split, lay_out(place, tmp_path_factory.mktemp("data"), name, contents))
    assert np.array_equal(dataset.images, images)
    assert np.array_equal(dataset.labels, labels)
    assert dataset.name == name


def test_a_path_may_be_text(tmp_path):
    contents, images, _ = random_split("cifar10", "test", np.random.default_rng(0))
    assert np.array_equal(load_dataset("cifar10", "test", str(write_folder(tmp_path, contents))).images, images)


def test_pixels_are_stored_plane_by_plane_and_row_by_row(tmp_path):
    record = bytearray(3073)
    record[0] = 7
    record[1 + 0 * 1024 + 2 * 32 + 5] = 11  # red, row 2, column 5
    record[1 + 1 * 1024 + 31 * 32 + 0] = 22
    record[1 + 2 * 1024 + 0 * 32 + 31] = 33
    dataset = load_dataset("cifar10", "test", write_folder(tmp_path, {"test_batch.bin": bytes(record)}))
    assert dataset.labels.tolist() == [7]
    assert {tuple(map(int, place)): int(dataset.images[tuple(place)]) for place in np.argwhere(dataset.images)} == {
        (0, 0, 2, 5): 11,
        (0, 1, 31, 0): 22,
        (0, 2, 0, 31): 33,
    }


def test_the_label_of_cifar_100_is_the_fine_one(tmp_path):
    dataset = load_dataset("cifar100", "test", write_folder(tmp_path, {"test.bin": bytes([3, 42]) + bytes(3072)}))
    assert dataset.labels.tolist() == [42]


def test_the_batches_of_cifar_10_come_in_the_order_of_their_numbers(tmp_path):
    files = reversed(FILES["cifar10", "train"])
    contents = {file: bytes([int(file[-5])]) + bytes(3072) for file in files}
    archive = write_archive(tmp_path / "x.tar.gz", list(contents.items()))
    assert load_dataset("cifar10", "train", archive).labels.tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("name", NAMES)
def test_an_official_file_of_full_size_is_read(tmp_path, name):
    layout = LAYOUTS[name]
    with open(tmp_path / FILES[name, "test"][0], "wb") as file:
        file.truncate(RECORD[name] * 10_000)
    assert len(load_dataset(name, "test", tmp_path)) == 10_000
    assert layout.records == ({"train": 10_000 if name == "cifar10" else 50_000, "test": 10_000})


@pytest.mark.parametrize("name", NAMES)
def test_classes_are_named_without_a_names_file_too(tmp_path, name):
    contents, _, _ = random_split(name, "test", np.random.default_rng(0))
    classes = load_dataset(name, "test", write_folder(tmp_path, contents)).classes
    assert len(set(classes)) == (10 if name == "cifar10" else 100)
    assert list(classes) == sorted(classes)  # as both official lists are
    assert classes[:2] == (("airplane", "automobile") if name == "cifar10" else ("apple", "aquarium_fish"))


@pytest.mark.parametrize("place", PLACES)
def test_the_names_file_names_the_classes(tmp_path, place):
    contents, _, _ = random_split("cifar10", "test", np.random.default_rng(0))
    contents["batches.meta.txt"] = "".join(f"Klasse Nr. {i} \r\n" for i in range(10)).encode() + b"\n"
    dataset = load_dataset("cifar10", "test", lay_out(place, tmp_path, "cifar10", contents))
    assert dataset.classes == tuple(f"Klasse Nr. {i}" for i in range(10))


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        (b"cat\ndog\n", ["batches.meta.txt has 2 names, expected 10"]),
        (b"\xff\xfe" * 10, ["batches.meta.txt is not UTF-8"]),
        (b"x\n" * 40_000, ["batches.meta.txt", "80000 bytes"]),
    ],
)
def test_a_names_file_of_other_content_is_refused(tmp_path, content, fragments):
    contents, _, _ = random_split("cifar10", "test", np.random.default_rng(0))
    with refused(tmp_path, *fragments):
        load_dataset("cifar10", "test", write_folder(tmp_path, contents | {"batches.meta.txt": content}))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", NAMES)
def test_a_truncated_batch_file_is_refused_with_its_size(tmp_path, name, place):
    contents, _, _ = random_split(name, "train", np.random.default_rng(0))
    file = FILES[name, "train"][-1]
    contents[file] = contents[file][:-1]
    with refused(file, f"{3 * RECORD[name] - 1} bytes", f"a multiple of {RECORD[name]}"):
        load_dataset(name, "train", lay_out(place, tmp_path, name, contents))


@pytest.mark.parametrize("place", PLACES)
def test_an_empty_batch_file_is_refused(tmp_path, place):
    with refused("test_batch.bin is empty", "a multiple of 3073"):
        load_dataset("cifar10", "test", lay_out(place, tmp_path, "cifar10", {"test_batch.bin": b""}))


def test_a_file_with_more_records_than_the_official_one_is_refused_without_reading_it(tmp_path, monkeypatch):
    with open(tmp_path / "test_batch.bin", "wb") as file:
        file.truncate(3073 * 10_001)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read"))
    with refused("test_batch.bin is too large", str(3073 * 10_001), "at most 30730000"):
        load_dataset("cifar10", "test", tmp_path)


@pytest.mark.parametrize("place", ["the files", ".tar.gz"])
@pytest.mark.parametrize(
    ("name", "column", "label", "highest"),
    [("cifar10", 0, 10, 9), ("cifar100", 0, 20, 19), ("cifar100", 1, 100, 99)],
)
def test_a_label_out_of_range_is_refused_with_file_record_and_range(tmp_path, place, name, column, label, highest):
    contents, _, _ = random_split(name, "train", np.random.default_rng(0))
    file = FILES[name, "train"][-1]
    content = bytearray(contents[file])
    content[2 * RECORD[name] + column] = label
    contents[file] = bytes(content)
    with refused(file, "record 2 (from 0)", f"label {label}", f"0 to {highest}"):
        load_dataset(name, "train", lay_out(place, tmp_path, name, contents))


@pytest.mark.parametrize("place", PLACES)
def test_a_missing_batch_file_is_named_and_the_download_is_mentioned(tmp_path, place):
    contents, _, _ = random_split("cifar10", "train", np.random.default_rng(0))
    del contents["data_batch_3.bin"]
    data_dir = lay_out(place, tmp_path, "cifar10", contents)
    with refused(
        "has no data_batch_3.bin",
        tmp_path,
        *(["--download"] if data_dir == tmp_path and "arch" not in place else []),
    ):
        load_dataset("cifar10", "train", data_dir)

import os
from pathlib import Path

import numpy as np
import pytest

from repvgg_np.data import load_dataset
from repvgg_np.data.cifar import default_data_dir

from .cifar_files import (
    ARCHIVE,
    FOLDER,
    NAMES,
    PLACES,
    in_folder,
    lay_out,
    random_split,
    write_archive,
    write_folder,
)
from .refusal import refused


def test_a_missing_folder_is_refused_with_its_name(tmp_path):
    with refused(f"{tmp_path / 'nowhere'} does not exist", "--download"):
        load_dataset("cifar10", "train", tmp_path / "nowhere")


def test_a_missing_archive_is_refused_with_its_name(tmp_path):
    with refused(f"the archive {tmp_path / 'no.tar.gz'} does not exist"):
        load_dataset("cifar10", "train", tmp_path / "no.tar.gz", download=True)


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "cifar.zip").write_bytes(b"PK")
    with refused("data_dir must be a folder or an archive", ".tar.gz", tmp_path / "cifar.zip"):
        load_dataset("cifar10", "train", tmp_path / "cifar.zip")


@pytest.mark.parametrize("data_dir", [5, b"x", ["x"]])
def test_a_place_that_is_no_path_is_refused(data_dir):
    with refused("data_dir must be a path", repr(data_dir)):
        load_dataset("cifar10", "train", data_dir)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", NAMES)
def test_a_path_that_is_too_long_is_refused(tmp_path, name, split):
    with refused("File name too long"):
        load_dataset(name, split, tmp_path / ("x" * 300))


def test_a_folder_in_the_place_of_a_file_is_no_file(tmp_path):
    (tmp_path / "test_batch.bin").mkdir()
    with refused("has no test_batch.bin"):
        load_dataset("cifar10", "test", tmp_path)


def test_a_pipe_in_the_place_of_a_file_keeps_nobody_waiting(tmp_path):
    os.mkfifo(tmp_path / "test_batch.bin")
    with refused("has no test_batch.bin"):
        load_dataset("cifar10", "test", tmp_path)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_names_file_that_is_no_file_is_ignored(tmp_path, make):
    contents, images, _ = random_split("cifar10", "test", np.random.default_rng(0))
    make(write_folder(tmp_path, contents) / "batches.meta.txt")
    assert np.array_equal(load_dataset("cifar10", "test", tmp_path).images, images)


def test_a_file_that_may_not_be_read_is_refused_with_the_reason(tmp_path, monkeypatch):
    contents, _, _ = random_split("cifar10", "test", np.random.default_rng(0))
    path = write_folder(tmp_path, contents) / "test_batch.bin"

    def forbidden(_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", forbidden)  # chmod would not keep the superuser out
    with refused(f"cannot read {path}: Permission denied"):
        load_dataset("cifar10", "test", tmp_path)


def test_a_folder_that_may_not_be_searched_is_refused_with_the_reason(tmp_path, monkeypatch):
    def forbidden(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", forbidden)
    with refused(f"cannot look into {tmp_path}: Permission denied"):
        load_dataset("cifar10", "test", tmp_path)


def test_without_a_place_the_environment_says_where_the_data_is(tmp_path, monkeypatch):
    contents, images, _ = random_split("cifar10", "test", np.random.default_rng(0))
    monkeypatch.setenv("REPVGG_NP_DATA", str(write_folder(tmp_path, contents)))
    assert np.array_equal(load_dataset("cifar10", "test").images, images)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"REPVGG_NP_DATA": "/data", "XDG_CACHE_HOME": "/cache"}, "/data"),
        ({"REPVGG_NP_DATA": "", "XDG_CACHE_HOME": "/cache"}, "/cache/repvgg_np"),
        ({"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/repvgg_np"),
        ({"XDG_CACHE_HOME": ""}, "/home/me/.cache/repvgg_np"),
        ({}, "/home/me/.cache/repvgg_np"),
    ],
)
def test_the_default_place_follows_the_environment(monkeypatch, variables, expected):
    for name in ("REPVGG_NP_DATA", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"HOME": "/home/me"} | variables).items():
        monkeypatch.setenv(name, value)
    assert default_data_dir() == Path(expected)


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    contents, images, _ = random_split("cifar10", "test", np.random.default_rng(0))
    write_folder(tmp_path / "pictures", contents)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert np.array_equal(load_dataset("cifar10", "test", "~/pictures").images, images)


@pytest.mark.parametrize("name", NAMES)
def test_a_download_fetches_the_official_archive_if_nothing_is_there(tmp_path, monkeypatch, name):
    contents, images, _ = random_split(name, "test", np.random.default_rng(0))
    calls = []

    def fetch(url, path, md5, *, size):
        calls.append((url, md5, size))
        path.parent.mkdir(parents=True)
        return write_archive(path, in_folder(FOLDER[name], contents))

    monkeypatch.setattr("repvgg_np.data.cifar.fetch", fetch)
    for _ in range(2):  # the second time it is there
        dataset = load_dataset(name, "test", tmp_path / "new" / "folder", download=True)
        assert np.array_equal(dataset.images, images)
    md5 = {"cifar10": "c32a1d4ab5d03f1284b67883e8d87530", "cifar100": "03b5dce01913d631647c71ecec9e9cb8"}[name]
    size = {"cifar10": 170052171, "cifar100": 168513733}[name]
    assert calls == [(f"https://www.cs.toronto.edu/~kriz/{ARCHIVE[name]}", md5, size)]


@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_downloaded_that_is_there(tmp_path, monkeypatch, place):
    contents, images, _ = random_split("cifar10", "test", np.random.default_rng(0))
    monkeypatch.setattr("repvgg_np.data.cifar.fetch", lambda *_, **__: pytest.fail("a download was started"))
    dataset = load_dataset("cifar10", "test", lay_out(place, tmp_path, "cifar10", contents), download=True)
    assert np.array_equal(dataset.images, images)

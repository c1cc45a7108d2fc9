"""A file is whole or absent."""

import os
import resource
import signal

import pytest

from repvgg_np.atomic import atomic_write


def test_the_file_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "file"
    with atomic_write(path) as file:
        file.write(b"half")
        assert not path.exists()
        file.write(b" whole")
    assert path.read_bytes() == b"half whole" and os.listdir(path.parent) == ["file"]


def test_an_exception_leaves_the_former_file_and_no_other(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"former")
    with pytest.raises(KeyError), atomic_write(path) as file:
        file.write(b"half")
        raise KeyError
    assert path.read_bytes() == b"former" and os.listdir(tmp_path) == ["file"]


def test_a_full_disk_is_a_value_error_and_leaves_the_former_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"former")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    former_handler = signal.signal(
        signal.SIGXFSZ, signal.SIG_IGN
    )  # the write then fails instead of killing the process
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with pytest.raises(ValueError, match=r"cannot write .*file: File too large"), atomic_write(path) as file:
            file.write(bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, former_handler)
    assert path.read_bytes() == b"former" and os.listdir(tmp_path) == ["file"]


def test_the_file_has_ordinary_rights(tmp_path):
    mask = os.umask(0o022)
    try:
        with atomic_write(tmp_path / "file") as file:
            file.write(b"x")
    finally:
        os.umask(mask)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_a_folder_that_cannot_be_made_is_a_value_error_that_names_it(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot write .*file/inside: "), atomic_write(tmp_path / "file" / "inside"):
        pass

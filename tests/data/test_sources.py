import gzip
import io
import os
import tarfile
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from repvgg_np.data import load_dataset, sources

from .cifar_files import in_folder, random_split, tar_bytes, write_archive
from .refusal import refused

CONTENTS, IMAGES, LABELS = random_split("cifar10", "test", np.random.default_rng(0), records_per_file=2)
BATCH = CONTENTS["test_batch.bin"]
ARCHIVE = tar_bytes([("x/readme.html", b"<p>" * 100), *in_folder("x", CONTENTS), ("x/end.txt", b"end")])
PLAIN = gzip.decompress(ARCHIVE)


def read(folder, data, name="cifar.tar.gz"):
    """Load the test set from an archive of this content."""
    path = folder / name
    path.write_bytes(data)
    return load_dataset("cifar10", "test", path)


def tree(folder):
    """Every file and folder below a folder, and what it holds."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def special(name, kind, target=""):
    """A member that is no regular file."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


@pytest.mark.parametrize(
    "name", ["../../test_batch.bin", "/test_batch.bin", "/tmp/../test_batch.bin", "./test_batch.bin"]
)
def test_members_with_wandering_names_are_read_and_written_nowhere(tmp_path, name):
    inner = tmp_path / "a" / "b" / "c"
    inner.mkdir(parents=True)
    path = write_archive(inner / "cifar.tar.gz", [("../../evil.txt", b"evil"), (name, BATCH), ("/evil", b"evil")])
    before = tree(tmp_path)
    assert np.array_equal(load_dataset("cifar10", "test", path).images, IMAGES)
    assert tree(tmp_path) == before
    assert not os.path.exists("/evil")


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE],
)
def test_links_folders_and_devices_are_never_read(tmp_path, kind):
    (tmp_path / "secret.bin").write_bytes(BATCH)
    members = [
        ("x/other.bin", BATCH),
        special("x/test_batch.bin", kind, str(tmp_path / "secret.bin")),
        special("y/test_batch.bin", kind, "../x/other.bin"),
        special("z/test_batch.bin", kind, "x/other.bin"),
    ]
    path = write_archive(tmp_path / "cifar.tar.gz", members)
    before = tree(tmp_path)
    with refused(f"{path} has no test_batch.bin"):
        load_dataset("cifar10", "test", path)
    assert tree(tmp_path) == before


def test_a_link_beside_the_file_does_not_matter(tmp_path):
    members = [special("a/test_batch.bin", tarfile.SYMTYPE, "/etc/passwd"), ("b/test_batch.bin", BATCH)]
    path = write_archive(tmp_path / "cifar.tar.gz", members)
    assert np.array_equal(load_dataset("cifar10", "test", path).images, IMAGES)


@pytest.mark.parametrize(
    "name",
    ["my_test_batch.bin", "test_batch.bin.bak", "TEST_BATCH.BIN", "._test_batch.bin", "test_batch.bin/x"],
)
def test_only_the_exact_name_counts(tmp_path, name):
    with refused("has no test_batch.bin"):
        read(tmp_path, tar_bytes([(name, BATCH)]))


def test_a_file_that_occurs_twice_is_refused(tmp_path):
    with refused("holds test_batch.bin twice"):
        read(tmp_path, tar_bytes([("a/test_batch.bin", BATCH), ("b/test_batch.bin", BATCH)]))


@pytest.mark.parametrize("size", [3073 * 10_001, 1 << 40, (1 << 60) // 3073 * 3073])
def test_an_absurd_size_is_refused_before_anything_is_read(tmp_path, size):
    member = tarfile.TarInfo("test_batch.bin")
    member.size = size
    data = member.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 16)
    with refused("test_batch.bin is too large", f"{size} bytes", "at most 30730000"):
        read(tmp_path, gzip.compress(data))


def test_a_negative_size_is_refused(tmp_path):
    member = tarfile.TarInfo("test_batch.bin")
    member.pax_headers = {"size": "-3073"}
    data = member.tobuf(tarfile.PAX_FORMAT) + bytes(1 << 16)
    with refused("test_batch.bin"):
        read(tmp_path, gzip.compress(data))


def test_a_declared_size_beyond_the_end_is_refused(tmp_path):
    member = tarfile.TarInfo("test_batch.bin")
    member.size = 3073 * 5
    with refused("cannot read", "unexpected end of data"):
        read(tmp_path, gzip.compress(member.tobuf() + BATCH))


@settings(deadline=None)
@given(st.integers(0, len(ARCHIVE) - 1))
@example(len(ARCHIVE) - 1)
@example(0)
def test_an_archive_that_is_cut_short_is_refused_wherever_it_is_cut(tmp_path_factory, length):
    with refused("cifar.tar.gz"):
        read(tmp_path_factory.mktemp("cut"), ARCHIVE[:length])


@settings(deadline=None)
@given(st.integers(0, len(ARCHIVE) - 1), st.integers(1, 255))
def test_a_damaged_archive_is_refused_or_gives_the_right_pictures(tmp_path_factory, place, change):
    data = bytearray(ARCHIVE)
    data[place] ^= change
    try:
        dataset = read(tmp_path_factory.mktemp("damaged"), bytes(data))
    except ValueError as error:
        assert "cifar.tar.gz" in str(error)
        assert "\n" not in str(error)
    else:
        assert place < 10  # in the header of gzip there are bytes that do not matter, as the time
        assert np.array_equal(dataset.images, IMAGES)
        assert np.array_equal(dataset.labels, LABELS)


def test_damage_in_any_byte_of_a_well_compressed_archive_is_found(tmp_path):
    archive = tar_bytes([("test_batch.bin", bytes(3073)), ("end.bin", bytes(range(256)) * 30)])
    for place in range(10, len(archive)):  # from behind the header of gzip
        data = bytearray(archive)
        data[place] ^= 0x55
        with refused("cifar.tar.gz"):
            read(tmp_path, bytes(data))


def test_damage_that_is_met_in_the_middle_of_a_member_is_found(tmp_path):
    member = ("test_batch.bin", bytes(3073 * 100))
    archive = bytearray(gzip.compress(tar_bytes([member], ""), compresslevel=0))
    block = 10  # a block that is not compressed has one byte, then the length, its complement, and the bytes
    for _ in range(3):
        block += 5 + int.from_bytes(archive[block + 1 : block + 3], "little")
    assert block < 3073 * 100
    archive[block + 3] ^= 1
    with refused("cannot read", "cifar.tar.gz", "invalid stored block lengths"):
        read(tmp_path, bytes(archive))


@settings(deadline=None)
@given(st.integers(0, len(PLAIN) - 1), st.integers(1, 255))
def test_a_damaged_plain_archive_gives_a_whole_data_set_or_is_refused(tmp_path_factory, place, change):
    # Nothing in a plain archive protects the contents, so a changed pixel cannot be found; but there is no
    # other error.
    data = bytearray(PLAIN)
    data[place] ^= change
    try:
        dataset = read(tmp_path_factory.mktemp("damaged"), bytes(data), "cifar.tar")
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert len(dataset) in (1, 2)


@settings(deadline=None)
@given(
    st.binary(max_size=2000),
    st.sampled_from([b"", b"\x1f\x8b", b"\x1f\x8b\x08\x00" + bytes(6)]),
    st.booleans(),
)
def test_any_bytes_that_are_no_archive_are_refused(tmp_path_factory, data, magic, compressed):
    data = gzip.compress(data) if compressed else magic + data
    with refused("cifar.tar"):
        read(tmp_path_factory.mktemp("noise"), data, "cifar.tar")


def test_bytes_after_the_end_of_the_compressed_stream_are_refused(tmp_path):
    with refused("cannot read"):
        read(tmp_path, ARCHIVE + b"garbage")


def test_an_archive_that_unpacks_to_endless_zeros_is_refused_without_taking_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "LARGEST_ARCHIVE", 1 << 22)
    member = tarfile.TarInfo("x" * 50)
    member.size = 1 << 26
    bomb = gzip.compress(member.tobuf() + bytes(1 << 26), compresslevel=1)
    tracemalloc.start()
    with refused("unpacks to more than 4194304 bytes"):
        read(tmp_path, bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 23  # half of what the archive unpacks to is 1 << 25


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_of_absurd_length_does_not_take_the_memory(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(sources, "LARGEST_ARCHIVE", 1 << 22)
    member = tarfile.TarInfo("long")
    member.type, member.size = kind, 1 << 26
    bomb = gzip.compress(member.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 26), compresslevel=1)
    tracemalloc.start()
    with refused("unpacks to more than 4194304 bytes"):
        read(tmp_path, bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 << 22


def test_a_tower_of_headers_is_refused(tmp_path):
    member = tarfile.TarInfo("long")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 0
    with refused("cannot read"):
        read(tmp_path, member.tobuf(tarfile.GNU_FORMAT) * 5000)


def test_an_archive_that_may_not_be_read_is_refused_with_the_reason(tmp_path, monkeypatch):
    path = write_archive(tmp_path / "cifar.tar.gz", [("test_batch.bin", BATCH)])

    def forbidden(*_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", forbidden)
    with refused(f"cannot read {path}: Permission denied"):
        load_dataset("cifar10", "test", path)


def test_the_members_are_streamed_one_after_the_other(tmp_path):
    big = io.BytesIO()
    with tarfile.open(fileobj=big, mode="w") as archive:
        for name, size in (("x/big.bin", 1 << 24), ("x/test_batch.bin", len(BATCH))):
            member = tarfile.TarInfo(name)
            member.size = size
            archive.addfile(member, io.BytesIO(BATCH if size == len(BATCH) else bytes(size)))
    data = gzip.compress(big.getvalue(), compresslevel=1)
    tracemalloc.start()
    dataset = read(tmp_path, data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(dataset.images, IMAGES)
    assert peak < 1 << 23  # half of the member that is not wanted

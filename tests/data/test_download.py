import hashlib
import socket
import threading
import urllib.error

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from repvgg_np.data import download as module

from .downloads import BLOCK, CONTENT, MD5, SIZE, SOME, get, left
from .refusal import refused
from .server import running


@pytest.mark.parametrize("size", [SIZE, None])
@pytest.mark.parametrize("says_length", [True, False])
def test_a_file_arrives_whole_and_nothing_else_is_left(server, tmp_path, size, says_length):
    server.says_length = says_length
    path = get(server, tmp_path / "new" / "folder", size=size)
    assert path == tmp_path / "new" / "folder" / "file.bin"
    assert path.read_bytes() == CONTENT
    assert left(path.parent) == ["file.bin"]
    assert server.asked == [None]


def test_a_file_that_is_there_is_not_downloaded_again(server, tmp_path):
    (tmp_path / "file.bin").write_bytes(CONTENT)
    get(server, tmp_path)
    assert server.asked == []
    assert left(tmp_path) == ["file.bin"]


def test_another_file_of_that_name_is_left_alone(server, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"mine")
    with refused(tmp_path / "file.bin", hashlib.md5(b"mine").hexdigest(), MD5, "delete it"):
        get(server, tmp_path)
    assert (tmp_path / "file.bin").read_bytes() == b"mine"
    assert server.asked == []


@pytest.mark.parametrize("size", [SIZE, None])
def test_a_broken_connection_is_taken_up_where_it_broke(server, tmp_path, size):
    server.drop_after = [SOME, BLOCK, 0]
    assert get(server, tmp_path, size=size).read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={SOME}-", f"bytes={SOME + BLOCK}-", f"bytes={SOME + BLOCK}-"]
    assert server.bytes_sent == SIZE
    assert left(tmp_path) == ["file.bin"]


def test_a_connection_that_breaks_without_having_told_its_length_is_taken_up_too(server, tmp_path):
    server.says_length, server.drop_after = False, [SOME]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={SOME}-"]


def test_a_server_that_knows_no_ranges_is_asked_for_everything_again(server, tmp_path):
    server.ranges, server.drop_after = False, [SOME]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={SOME}-"]
    assert server.bytes_sent == SOME + SIZE


def test_a_network_that_keeps_failing_is_an_error_and_the_next_call_goes_on(server, tmp_path):
    server.drop_after = [100] * module.ATTEMPTS
    received = 100 * module.ATTEMPTS
    with refused(f"cannot download {server.url}", f"{received} of {SIZE} bytes", "run again to resume"):
        get(server, tmp_path)
    assert left(tmp_path) == ["file.bin.part"]
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[:received]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.bytes_sent == SIZE


def test_a_server_that_is_not_there_is_an_error_of_one_line(tmp_path):
    with running(CONTENT) as server:
        pass
    with refused(f"cannot download {server.url}", "refused", "run again to resume"):
        get(server, tmp_path)
    assert left(tmp_path) == []


def test_a_name_that_cannot_be_resolved_is_an_error_of_one_line(server, tmp_path):
    def fail(request, timeout):
        raise urllib.error.URLError(socket.gaierror(-2, "Name or service not known"))

    with refused(f"cannot download {server.url}", "Name or service not known", "run again to resume"):
        get(server, tmp_path, opener=fail)


def test_a_server_that_stays_silent_is_an_error_of_one_line(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", 0.05)
    server.stall, server.drop_after = threading.Event(), [0] * module.ATTEMPTS
    with refused(f"cannot download {server.url}", "timed out", "run again to resume"):
        get(server, tmp_path)
    server.stall.set()


def test_a_missing_file_is_asked_for_only_once(server, tmp_path):
    server.statuses = [404] * 9
    with refused(f"cannot download {server.url}", "404 Not Found"):
        get(server, tmp_path)
    assert len(server.asked) == 1


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.statuses = [503, 500]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert len(server.asked) == 3


@settings(deadline=None, max_examples=25)
@given(st.integers(0, SIZE + 10), st.booleans(), st.booleans(), st.sampled_from([SIZE, None]))
@example(SIZE, True, True, SIZE)
@example(SIZE, True, True, None)
@example(SIZE, False, True, SIZE)
@example(SIZE + 10, True, True, None)
def test_whatever_was_left_behind_the_result_is_right_or_refused(tmp_path_factory, length, genuine, ranges, size):
    folder = tmp_path_factory.mktemp("part")
    rest = CONTENT + bytes(10) if genuine else bytes(SIZE + 10)
    (folder / "file.bin.part").write_bytes(rest[:length])
    with running(CONTENT) as server:
        server.ranges = ranges
        if genuine or not ranges or length in (0, *range(SIZE, SIZE + 11)):
            assert get(server, folder, size=size).read_bytes() == CONTENT
        else:
            with refused("checksum"):
                get(server, folder, size=size)
            assert left(folder) == []
            assert get(server, folder, size=size).read_bytes() == CONTENT
    assert left(folder) == ["file.bin"]


def test_a_part_that_is_complete_needs_no_network(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == []


def test_wrong_content_is_refused_with_both_checksums_and_removed(server, tmp_path):
    server.content = CONTENT[:-1] + b"?"
    with refused(hashlib.md5(server.content).hexdigest(), MD5, "removed", "run again"):
        get(server, tmp_path)
    assert left(tmp_path) == []


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"?", b"<html>Please log in</html>"])
def test_a_file_of_another_size_is_refused_before_it_is_read(server, tmp_path, content):
    server.content = content
    with refused(f"cannot download {server.url}", f"offers {len(content)} bytes, expected {SIZE}"):
        get(server, tmp_path)
    assert left(tmp_path) == []


def test_a_file_without_end_is_refused_as_soon_as_it_is_too_long(server, tmp_path):
    server.content, server.says_length = CONTENT * 20, False
    with refused(f"sends more than the {SIZE} bytes expected"):
        get(server, tmp_path)
    assert (tmp_path / "file.bin.part").stat().st_size <= SIZE


def test_another_range_than_the_one_asked_for_is_never_appended(server, tmp_path):
    server.shift = 1
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:SOME])
    with refused("another range"):
        get(server, tmp_path)
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[:SOME]


def test_a_full_disk_is_an_error_of_one_line_and_not_taken_for_the_network(server, tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with refused(f"cannot write {tmp_path / 'file.bin.part'}: No space left on device"):
        get(server, tmp_path)
    assert len(server.asked) == 1


def test_a_folder_that_cannot_be_made_is_an_error_of_one_line(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with refused("cannot write", "Not a directory"):
        get(server, tmp_path / "file" / "folder")


def test_progress_goes_to_the_standard_error_output_or_nowhere(server, tmp_path, capsys):
    get(server, tmp_path / "a", progress=False)
    assert capsys.readouterr() == ("", "")
    get(server, tmp_path / "b", progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "file.bin" in err
    assert "100%" in err

import concurrent.futures
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from repvgg_np.data import download as module

from .downloads import BLOCK, CONTENT, MD5, SIZE, SOME, get, left


def test_eight_downloads_at_once_fetch_one_file_once(server, tmp_path):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: get(server, tmp_path), range(8)))
    assert [path.read_bytes() for path in paths] == [CONTENT] * 8
    assert server.bytes_sent == SIZE
    assert left(tmp_path) == ["file.bin"]


def test_eight_downloads_over_a_bad_line_fetch_one_file_once(server, tmp_path):
    # Each of the first two gives up and removes the lock while the others wait for it.
    server.drop_after = [1000] * (2 * module.ATTEMPTS)

    def attempt(_):
        try:
            return get(server, tmp_path).read_bytes()
        except ValueError as error:
            return str(error)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(attempt, range(8)))
    assert results.count(CONTENT) == 6
    assert sum("run again to resume" in str(result) for result in results) == 2
    assert server.bytes_sent == SIZE
    assert left(tmp_path) == ["file.bin"]


def test_a_download_waits_while_another_process_holds_the_lock(server, tmp_path):
    lock = tmp_path / "file.bin.lock"
    code = (
        "import fcntl, sys\n"
        "with open(sys.argv[1], 'w') as file:\n"
        "    fcntl.flock(file, fcntl.LOCK_EX)\n"
        "    print(flush=True)\n"
        "    input()\n"
    )
    with (
        subprocess.Popen(
            [sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        other.stdout.readline()
        result = pool.submit(get, server, tmp_path)
        with pytest.raises(concurrent.futures.TimeoutError):
            result.result(timeout=0.2)
        assert server.asked == []
        other.communicate(b"\n")
        assert result.result(timeout=10).read_bytes() == CONTENT
    assert left(tmp_path) == ["file.bin"]


def test_a_lock_whose_file_was_removed_lets_nobody_in(server, tmp_path):
    # As when the first of three has removed the file, for which the second waits, and the third has made a
    # new one.
    lock = tmp_path / "file.bin.lock"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with contextlib.ExitStack() as stack:
            with open(lock, "w") as first:
                fcntl.flock(first, fcntl.LOCK_EX)
                result = pool.submit(get, server, tmp_path)
                concurrent.futures.wait([result], timeout=0.2)
                lock.unlink()
                third = stack.enter_context(open(lock, "w"))
                fcntl.flock(third, fcntl.LOCK_EX)
            concurrent.futures.wait([result], timeout=0.2)
            assert server.asked == []
        assert result.result(timeout=10).read_bytes() == CONTENT
    assert left(tmp_path) == ["file.bin"]


def test_a_download_that_was_killed_is_taken_up_where_it_was(server, tmp_path):
    server.stall, server.drop_after = threading.Event(), [SOME]
    code = (
        "import sys\n"
        "from repvgg_np.data.download import download\n"
        "from tests.data.server import open_directly\n"
        "download(sys.argv[1], sys.argv[2], sys.argv[3], opener=open_directly)\n"
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", code, server.url, str(tmp_path / "file.bin"), MD5]
    environment = os.environ | {"PYTHONPATH": str(root)}
    with subprocess.Popen(command, cwd=root, env=environment, stderr=subprocess.DEVNULL) as process:
        part = tmp_path / "file.bin.part"
        deadline = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size >= 2 * BLOCK):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    server.stall.set()
    have = part.stat().st_size
    assert left(tmp_path) == ["file.bin.lock", "file.bin.part"]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={have}-"]
    assert left(tmp_path) == ["file.bin"]


def test_a_system_without_locks_can_download(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "fcntl", None)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert left(tmp_path) == ["file.bin"]


def test_a_file_system_without_locks_can_be_downloaded_to(server, tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(module.fcntl, "flock", unsupported)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert left(tmp_path) == ["file.bin"]

import math
import os

import pytest
from hypothesis import given

from repvgg_np.training import COLUMNS, History, read_history

from .strategies import history_rows


def row(epoch, loss=0.5):
    return {"epoch": epoch, **dict.fromkeys(COLUMNS[1:], loss)}


@given(history_rows)
def test_what_is_appended_is_read_back_with_the_same_digits(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("history") / "history.csv"
    history = History(path)
    for line in rows:
        history.append(line)
    assert read_history(path) == history.rows == rows
    assert all(type(line["epoch"]) is int for line in read_history(path))


def test_a_test_loss_that_is_no_number_is_read_back_as_such(tmp_path):
    History(tmp_path / "history.csv").append(row(1, math.nan))
    assert math.isnan(read_history(tmp_path / "history.csv")[0]["test_loss"])


def test_each_line_is_in_the_file_as_soon_as_it_is_appended(tmp_path):
    path = tmp_path / "history.csv"
    history = History(path)
    assert path.read_text() == ",".join(COLUMNS) + "\n"
    history.append(row(1))
    assert path.read_text().splitlines()[1:] == ["1,0.5,0.5,0.5,0.5,0.5,0.5,0.5"]


def test_a_line_is_synced_to_the_disk(tmp_path, monkeypatch):
    history, synced = History(tmp_path / "history.csv"), []
    monkeypatch.setattr(os, "fsync", synced.append)
    history.append(row(1))
    assert len(synced) == 1


def test_a_resumed_history_drops_what_came_after_its_checkpoint(tmp_path):
    path = tmp_path / "history.csv"
    history = History(path)
    for epoch in (1, 2, 3):
        history.append(row(epoch))
    with open(path, "a") as file:
        file.write("4,0.5,0.")  # killed in the middle of a line
    resumed = History(path, history.rows[:2])
    resumed.append(row(3, 0.25))
    assert read_history(path) == [row(1), row(2), row(3, 0.25)]
    assert os.listdir(tmp_path) == ["history.csv"]


def test_a_line_without_its_newline_is_left_out(tmp_path):
    path = tmp_path / "history.csv"
    History(path, [row(1), row(2)])
    whole = path.read_bytes()
    second = whole.index(b"\n2,") + 1
    for length in range(second, len(whole)):
        path.write_bytes(whole[:length])
        assert read_history(path) == [row(1)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a training history: its first line must be epoch,train_loss"),
        (b"epoch,loss\n1,2\n", "is not a training history"),
        (b"\xff\xfe", "is not a training history: it is no text"),
        (",".join(COLUMNS).encode(), "is not a training history"),
        (",".join(COLUMNS).encode() + b"\n1,2\n", "line 2 of .* must be 8 numbers, got '1,2'"),
        (",".join(COLUMNS).encode() + b"\n1,,3,4,5,6,7,8\n", "line 2 of .* must be 8 numbers, got '1,,3"),
        (",".join(COLUMNS).encode() + b"\n1,2,3,4,5,6,7,eight\n", "line 2 of .* must be 8 numbers"),
        (",".join(COLUMNS).encode() + b"\n" + b"1" * 5000 + b",2,3,4,5,6,7,8\n", "line 2 of .* must be 8 numbers"),
    ],
)
def test_what_is_no_history_is_refused(tmp_path, content, message):
    path = tmp_path / "history.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_history(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot read .*missing.csv: No such file"):
        read_history(tmp_path / "missing.csv")
    with pytest.raises(ValueError, match="cannot read .*: Is a directory"):
        read_history(tmp_path)
    with pytest.raises(ValueError, match="cannot write"):
        History(tmp_path)


def test_a_full_disk_is_a_value_error_and_the_row_is_not_counted(tmp_path, monkeypatch):
    history = History(tmp_path / "history.csv")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ValueError, match=r"cannot write .*history\.csv: No space left on device"):
        history.append(row(1))
    assert history.rows == []


def test_a_row_with_other_columns_is_refused(tmp_path):
    with pytest.raises(ValueError, match="row must have the columns epoch, .* got epoch"):
        History(tmp_path / "history.csv").append({"epoch": 1})

"""Where results may go: never over an input, and only where a file system is."""

import os
from pathlib import Path

import pytest

from redistill.errors import OperatorError
from redistill.io.atomic import check_output, make_folder
from redistill.tools.verify_file import verify_file


@pytest.mark.parametrize("address", ["s3://bucket/runs", "gs://b", "hf://datasets/a/b", "az://x/y"])
def test_an_address_of_object_storage_does_not_become_a_folder_of_that_name(address: str) -> None:
    for place in (Path(address), Path(address) / "quickstart"):
        with pytest.raises(OperatorError, match="is not a local path, and only the run folder"):
            make_folder(place)


def test_an_ordinary_path_with_a_colon_is_a_path(tmp_path: Path) -> None:
    make_folder(tmp_path / "a:b" / "12:30")
    assert (tmp_path / "a:b" / "12:30").is_dir()
    make_folder(tmp_path / "a:b" / "12:30")  # it is there already


def test_a_pipe_is_no_output(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OperatorError, match="pipe"):
        check_output(tmp_path / "pipe")


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (Path("/proc/runs"), tmp_path / "file" / "runs"):
        with pytest.raises(OperatorError, match=r"--runs-dir: cannot make the folder .* choose another place"):
            make_folder(place)


def test_an_output_that_is_the_input_by_another_name_is_refused_and_the_input_is_as_it_was(tmp_path: Path) -> None:
    rows, link = tmp_path / "rows.jsonl", tmp_path / "link.jsonl"
    rows.write_text('{"a": "4", "b": "4"}\n')
    link.symlink_to(rows)
    (tmp_path / "folder").mkdir()
    for out in (rows, link, tmp_path / "folder" / ".." / "rows.jsonl"):
        with pytest.raises(OperatorError, match="is the input itself, which is never written over"):
            verify_file(rows, gold="a", prediction="b", out=out, workers=1)
    assert rows.read_text() == '{"a": "4", "b": "4"}\n'
    check_output(tmp_path / "other.jsonl", rows)

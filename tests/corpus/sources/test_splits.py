"""Which split a file belongs to by its name, and that only train is read unless the recipe says otherwise."""

import json
from pathlib import Path, PurePosixPath

import pytest

from redistill.corpus.sources.files import resolve, select_files
from redistill.corpus.sources.splits import split_of
from redistill.errors import OperatorError


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("data/train-00000-of-00010.parquet", "train"),
        ("data/test-00000-of-00001.parquet", "test"),
        ("data/validation-00000-of-00001.parquet", "validation"),
        ("train_prefs-00000-of-00001.parquet", "train_prefs"),
        ("cot-00000-of-00144.parquet", "cot"),
        ("saved/test/data-00000-of-00001.arrow", "test"),
        ("math/train/part-1.jsonl", "train"),
        ("gsm8k_test.jsonl", "test"),
        ("dev.jsonl.gz", "validation"),
        ("MATH-Eval.json", "test"),
        ("train.jsonl", "train"),
        ("latest.jsonl", None),
        ("contest/problems.jsonl", None),
        ("attestations.csv", None),
        ("rows.jsonl", None),
        ("data/0000.parquet", None),
    ],
)
def test_a_name_says_the_split_only_as_a_word_of_its_own(name: str, split: str | None) -> None:
    assert split_of(PurePosixPath(name)) == split


def folder_of(tmp_path: Path, *names: str) -> Path:
    for name in names:
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"from": name}) + "\n")
    return tmp_path / "set"


def read(folder: Path, split: str | None = None) -> list[str]:
    return [str(path.relative_to(folder)) for path in resolve(str(folder), split=split)]


def test_train_is_read_and_the_others_are_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "data/train.jsonl", "data/test.jsonl", "data/dev.jsonl", "extra.jsonl")
    found = select_files(str(folder))
    assert [path.name for path in found.files] == ["train.jsonl", "extra.jsonl"]
    assert found.note.endswith(
        "set: the split train is read, not the splits test, validation; write split: NAME for another."
    )
    assert read(folder, "test") == ["data/test.jsonl"] and read(folder, "validation") == ["data/dev.jsonl"]
    assert len(read(folder, "all")) == 4
    with pytest.raises(OperatorError, match=r"has no split 'tests'; its splits are test, train, validation"):
        read(folder, "tests")


def test_files_of_no_split_are_read_without_the_test_split_beside_them(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "mine.jsonl", "mine_test.jsonl")
    assert read(folder) == ["mine.jsonl"]
    assert "files of no split are read, not the split test" in select_files(str(folder)).note


def test_where_no_split_is_train_the_only_one_is_read_and_of_several_one_must_be_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", "test.jsonl")
    assert read(folder) == ["test.jsonl"] and "there is no other" in select_files(str(folder)).note
    folder = folder_of(
        tmp_path / "b", "cot-00000-of-00002.jsonl", "cot-00001-of-00002.jsonl", "genselect-00000-of-00001.jsonl"
    )
    with pytest.raises(OperatorError, match=r"has the splits cot, genselect and none called train; write split:"):
        read(folder)
    assert read(folder, "cot") == ["cot-00000-of-00002.jsonl", "cot-00001-of-00002.jsonl"]
    folder = folder_of(
        tmp_path / "c",
        "train_sft-00000-of-00001.jsonl",
        "train_prefs-00000-of-00001.jsonl",
        "test_sft-00000-of-00001.jsonl",
    )
    with pytest.raises(OperatorError, match="test_sft, train_prefs, train_sft"):
        read(folder)


def test_a_file_or_pattern_that_is_named_is_read_whatever_its_split(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "test-1.jsonl", "dev-1.jsonl")
    assert resolve(str(folder / "test-1.jsonl")) == [folder / "test-1.jsonl"]
    assert resolve(str(folder / "*-1.jsonl")) == [folder / "dev-1.jsonl", folder / "test-1.jsonl"]


def test_side_files_of_data_sets_are_no_rows(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "a.jsonl", "metadata.jsonl", "dataset_info.json", "train/state.json")
    found = select_files(str(folder))
    assert [path.name for path in found.files] == ["a.jsonl"]
    assert found.note.endswith("set: metadata.jsonl skipped: not data, judging by the name.")

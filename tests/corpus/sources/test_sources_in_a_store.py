"""Sources in object storage, read from a real S3 server: the same rows as of the files on a disk, or one sentence."""

import functools
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3fs import S3FileSystem

from object_store import Server, s3_server
from redistill.corpus import collect
from redistill.corpus.sources import SOURCES
from redistill.corpus.sources.files import read_rows, resolve, select_files
from redistill.errors import OperatorError
from redistill.io import stores
from redistill.io.stage_folder import StageFolder
from redistill.tools.validate import mistakes_in


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with s3_server() as one:
        yield one


@pytest.fixture
def bucket(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A new bucket and an empty cache; no fault."""
    monkeypatch.setenv(stores.CACHE, str(tmp_path / "cache"))
    yield server.bucket(f"b{abs(hash(tmp_path)) % 10**12}")
    server.fault = lambda method, path: None


def rows(first: int, count: int) -> bytes:
    lines = [
        {"problem": f"{n}+1?", "answer": str(n + 1), "generations": [f"\\boxed{{{n + 1}}}", f"\\boxed{{{n}}}"]}
        for n in range(first, first + count)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def test_files_globs_folders_and_splits_are_those_of_a_disk(server: Server, bucket: str, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    for name, data in {
        "a.jsonl": rows(0, 3), "deep/b.jsonl.gz": gzip.compress(rows(3, 2), mtime=0), "deep/test.jsonl": rows(9, 1),
        "deep/.hidden.jsonl": b"no", "notes.txt": b"no rows",
    }.items():  # fmt: skip
        (disk / name).parent.mkdir(parents=True, exist_ok=True)
        (disk / name).write_bytes(data)
    server.put_folder(disk, f"{bucket}/data")
    for inside, split in (
        ("", None),
        ("", "all"),
        ("/a.jsonl", None),
        ("/*.jsonl", None),
        ("/**/*.jsonl*", "all"),
        ("/deep", None),
    ):
        here, there = (
            select_files(f"{disk}{inside}", split=split),
            select_files(f"s3://{bucket}/data{inside}", split=split),
        )
        assert [path.name for path in there.files] == [path.name for path in here.files], inside
        assert there.note.replace(f"s3://{bucket}/data", str(disk)) == here.note
        for one, other in zip(here.files, there.files):
            assert list(read_rows(one)) == list(read_rows(other))
    (one,) = resolve(f"s3://{bucket}/data/deep/b.jsonl.gz")
    assert stores.address_of(one) == f"s3://{bucket}/data/deep/b.jsonl.gz"
    assert resolve(str(Path(f"s3://{bucket}/data/a.jsonl"))) == resolve(
        f"s3://{bucket}/data/a.jsonl"
    )  # a Path's one slash


def test_a_corpus_has_the_bytes_of_one_from_a_disk_but_for_where_its_rows_were_read(
    server: Server, bucket: str, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_bytes(rows(0, 20))
    server.put(f"{bucket}/rows.jsonl", rows(0, 20))
    made = {}
    for name, path in (("disk", str(tmp_path / "rows.jsonl")), ("store", f"s3://{bucket}/rows.jsonl")):
        stage = StageFolder(tmp_path / name, "same")
        stage.open()
        ledger = collect(
            stage, [functools.partial(SOURCES["traces"], path=path)], seed=0, max_problems=None, num_shards=2
        )
        made[name] = (ledger["accounts"], [path.read_bytes() for path in stage.shard_files("groups")])
        assert {origin.file for origin in stage.read("origins")} == {path}
    assert made["disk"] == made["store"]
    assert made["store"][0]["traces"] == {"unit": "trace", "in": 40, "kept": 40, "dropped": {}}


def test_what_was_fetched_is_not_fetched_again_until_it_changes(server: Server, bucket: str) -> None:
    server.put(f"{bucket}/rows.jsonl", rows(0, 3))
    (first,) = resolve(f"s3://{bucket}/rows.jsonl")
    server.asked.clear()
    assert resolve(f"s3://{bucket}/rows.jsonl") == [first]
    assert ("GET", f"/{bucket}/rows.jsonl") not in server.asked
    server.put(f"{bucket}/rows.jsonl", rows(5, 3))  # as many bytes
    (second,) = resolve(f"s3://{bucket}/rows.jsonl")
    assert second.read_bytes() == rows(5, 3) and first.read_bytes() == rows(0, 3)


def test_what_is_not_there_is_one_sentence(server: Server, bucket: str) -> None:
    server.put(f"{bucket}/notes.txt", b"")
    for place, said in (
        (f"{bucket}/gone.jsonl", "nothing was found at s3://"),
        (f"{bucket}/*.jsonl", "nothing was found at s3://"),
        (bucket, "there is no data file at s3://"),
        ("no-such-bucket/rows.jsonl", "nothing was found at s3://no-such-bucket/rows.jsonl"),
        (f"{bucket}/../rows.jsonl", "nothing was found at|contains `"),
    ):
        with pytest.raises(OperatorError, match=said):
            resolve(f"s3://{place}")


def test_a_key_that_vanishes_between_listing_and_fetching_is_one_sentence(server: Server, bucket: str) -> None:
    server.put(f"{bucket}/rows.jsonl", rows(0, 3))
    (listed,) = stores.find(f"s3://{bucket}/rows.jsonl")
    server.remove(f"{bucket}/rows.jsonl")
    with pytest.raises(OperatorError, match=f"nothing was found at s3://{bucket}/rows.jsonl"):
        stores.fetch(listed)
    server.put(f"{bucket}/rows.jsonl", rows(0, 2))  # and one that has become another
    with pytest.raises(OperatorError, match="truncated, or changed meanwhile"):
        stores.fetch(listed)
    assert not [path for path in stores.cache_folder().rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("status", "said"),
    [(403, "access denied"), (500, "gives an unexpected response"), (503, "gives an unexpected response")],
)
def test_a_refusal_is_one_sentence_and_nothing_is_left(server: Server, bucket: str, status: int, said: str) -> None:
    server.put(f"{bucket}/rows.jsonl", rows(0, 3))
    for method in ("HEAD", "GET"):
        server.fault = lambda asked, path, method=method: (status, 0.0) if asked == method else None
        with pytest.raises(OperatorError, match=said) as refused:
            resolve(f"s3://{bucket}/rows.jsonl")
        assert "\n" not in str(refused.value)
    assert not [path for path in stores.cache_folder().rglob("*") if path.is_file()]


def test_a_server_that_fails_once_is_asked_again(server: Server, bucket: str) -> None:
    server.put(f"{bucket}/rows.jsonl", rows(0, 3))
    failed = []
    server.fault = lambda method, path: (failed.append(path) or (503, 0.0)) if method == "GET" and not failed else None
    (found,) = resolve(f"s3://{bucket}/rows.jsonl")
    assert found.read_bytes() == rows(0, 3) and failed


def test_without_keys_or_a_server_it_is_one_sentence(
    server: Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    S3FileSystem.clear_instance_cache()  # it has looked at the environment already
    with pytest.raises(OperatorError, match="gives an unexpected response"):
        resolve(f"s3://{bucket}/rows.jsonl")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    S3FileSystem.clear_instance_cache()
    with pytest.raises(OperatorError, match="access denied"):
        resolve(f"s3://{bucket}/other.jsonl")
    S3FileSystem.clear_instance_cache()


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redistill.config.extras.is_installed", lambda module: False)
    with pytest.raises(OperatorError, match=r"gs:// needs gcsfs, which is not installed: .* \(in the extra `gcs`\)"):
        resolve("gs://bucket/rows.jsonl")
    with pytest.raises(OperatorError, match=r"s3:// needs s3fs, which is not installed: .* \(in the extra `s3`\)"):
        resolve("s3://bucket/rows.jsonl")


def test_validate_asks_no_store(server: Server, bucket: str) -> None:
    recipe = f"""
name: mine
student: {{from_config: {{model_type: llama, hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 2,
  num_key_value_heads: 2}}, alphabet: "0123456789"}}
corpus: {{sources: [{{name: traces, path: "s3://{bucket}/gone.jsonl"}}]}}
train: {{sft: {{objective: sft, learning_rate: 1.0e-3}}}}
"""
    server.asked.clear()
    assert mistakes_in(recipe, "recipe") == []
    assert server.asked == []

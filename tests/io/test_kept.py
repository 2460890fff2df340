"""The file of paid replies: what it says was paid, and one order for equal runs."""

import random
from pathlib import Path

from redistill.io.kept import Kept, order_lines
from redistill.io.replies import Reply

REPLIES = {f"key{i}": Reply(f"text {i}", "stop", 10 + i, i) for i in range(6)}
FILTERED = Reply("", "content_filter", 7, 5, refused="content_filter")


def written(path: Path, keys: list[str], torn: bool = False) -> bytes:
    with Kept(path) as kept:
        for key in keys[:3]:
            kept.put(key, REPLIES[key])
    if torn:
        path.write_bytes(path.read_bytes()[:-20])
    with Kept(path) as kept:  # a second process goes on, after an empty line
        for key in keys:
            if kept.get(key) is None:
                kept.put(key, REPLIES[key])
    order_lines(path)
    return path.read_bytes()


def test_equal_replies_leave_equal_bytes_whatever_the_order_and_whatever_was_torn(tmp_path):
    keys = list(REPLIES)
    first = written(tmp_path / "a", keys)
    random.Random(1).shuffle(keys)
    assert written(tmp_path / "b", keys) == written(tmp_path / "c", keys, torn=True) == first
    assert {key: Kept(tmp_path / "b").get(key) for key in keys} == {key: REPLIES[key] for key in keys}
    before = (tmp_path / "a").stat().st_ino
    order_lines(tmp_path / "a")
    assert (tmp_path / "a").stat().st_ino == before  # in order already: not written again
    order_lines(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_what_was_paid_counts_each_key_once_and_refusals_as_often_as_they_were_billed(tmp_path):
    path = tmp_path / "kept"
    with Kept(path) as kept:
        kept.put("key1", REPLIES["key1"])  # 11 in, 1 out
        kept.put("key2", FILTERED)
        kept.put("key2", FILTERED)
        kept.put("key3", Reply("", None, None, None, refused="400: no"))  # nothing was counted, nothing is stored
    for again in (kept, Kept(path)):
        assert again.paid(["key1", "key1", "key2", "key3", "unknown"]) == (11 + 2 * 7, 1 + 2 * 5)
        assert again.get("key2") is None and again.get("key1") == REPLIES["key1"]
    assert path.read_text().count('"key"') == 3

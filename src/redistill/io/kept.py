"""Replies that were paid for, in a file: one line per reply, appended when it comes, so that none is asked for twice.

with Kept(Path("runs/demo/judge.jsonl")) as kept:
    kept.put(asked.key, reply)
    kept.get(asked.key)              the reply, in this process and in any later one
    kept.paid([asked.key])           (tokens in, tokens out), also of requests that were billed and refused
order_lines(Path("runs/demo/judge.jsonl"))     once a stage is finished: equal runs leave equal bytes
"""

import contextlib
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from redistill.io.atomic import mark, unmarked, write_bytes
from redistill.io.progress import say
from redistill.io.replies import Reply
from redistill.text.utf8 import utf8_values


class Kept(contextlib.AbstractContextManager["Kept"]):
    """Replies in a file, or in memory only where there is no path. A refused request has no reply here and is asked again; what
    it cost is kept.

    A line that a kill cut short, or that has changed since, is passed over and asked again. Several processes may append to one file.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path, self._replies = path, dict[str, Reply]()
        self._refused = defaultdict[str, list[Reply]](list)
        self._file: Any = None
        damaged = 0
        with contextlib.ExitStack() as stack, contextlib.suppress(FileNotFoundError):
            for line in filter(bytes.strip, stack.enter_context(open(path, "rb")) if path else ()):
                try:
                    row = unmarked(line) or {}
                    self._remember(
                        row["key"], Reply(**{name: _frozen(value) for name, value in utf8_values(row["reply"]).items()})
                    )
                except (TypeError, KeyError, AttributeError):
                    damaged += 1
        if damaged:
            say(f"corrupt  {path}: {damaged} lines are truncated or have changed; they are skipped")

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def get(self, key: str) -> Reply | None:
        """The reply that was given to this request, or None."""
        return self._replies.get(key)

    def paid(self, keys: Iterable[str]) -> tuple[int, int]:
        """(tokens in, tokens out) of everything that these requests have ever brought, as far as the server counted them."""
        replies = [
            reply for key in set(keys) for reply in (*self._refused.get(key, ()), self._replies.get(key)) if reply
        ]
        return sum(r.prompt_tokens or 0 for r in replies), sum(r.completion_tokens or 0 for r in replies)

    def put(self, key: str, reply: Reply) -> None:
        """Remember a reply, here and in the file; of a refused one what the server counts, where it counts anything."""
        self._remember(key, reply)
        if self.path is None or (reply.refused and not (reply.prompt_tokens or reply.completion_tokens)):
            return
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 - held open until __exit__
            if self._file.tell():
                self._file.write("\n")  # the last line may be a torn one; an empty line is passed over
        given = {
            name: value for name, value in asdict(reply).items()
            if value != () and (name, value) not in (("stop", None), ("refused", "")) and name != "model"
        }  # fmt: skip
        self._file.write(json.dumps(mark({"key": key, "reply": given})) + "\n")
        self._file.flush()  # into the kernel's hands: a killed process loses nothing

    def _remember(self, key: str, reply: Reply) -> None:
        if reply.refused:
            self._refused[key].append(reply)
        else:
            self._replies[key] = reply


def _frozen(value: Any) -> Any:
    """Lists of JSON as the tuples that they were."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def order_lines(path: Path) -> None:
    """The lines of a file that grew as replies or samples came, by their keys, without damaged ones and empty lines. Only for a file that
    no other process appends to."""
    with contextlib.suppress(FileNotFoundError):
        lines = path.read_bytes().splitlines()
        whole = sorted(
            (row["key"], line) for line in lines if line.strip() and (row := unmarked(line)) and "key" in row
        )
        if [line for _, line in whole] != lines:
            write_bytes(path, b"".join(line + b"\n" for _, line in whole))

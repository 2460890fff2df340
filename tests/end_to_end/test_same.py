"""Two runs of one recipe on one machine have the same bytes, with one worker and with two."""

import json
import re
from pathlib import Path
from typing import Any

from faults.equal import final_files, unlike

SAYS_HOW_MANY = ("recipe.yaml", "run.json", "report.html", "README.md", "verify/ledger.json")  # copies of the recipe


def test_a_second_run_with_two_workers_has_the_same_bytes_in_every_file_but_times(
    whole: Path, here: Path, tool: Any
) -> None:
    """The miniature of the quickstart: its source, verifier, three stages, diagnosis and evaluation. What copies the
    recipe names the number of workers, and is compared without it."""
    done = tool(here, "run", "mini.yaml", "--workers", "2", "--set", "verify.workers=2")
    assert done.returncode == 0, done.stderr
    one, two = (
        {name: told(name, value) for name, value in final_files(f / "runs" / "mini").items()} for f in (whole, here)
    )
    assert unlike(two, one) == [] and len(one) > 80


def told(name: str, value: Any) -> Any:
    """A file without the number of workers and the checksum that covers it."""
    if not name.endswith(SAYS_HOW_MANY):
        return value
    text = value if isinstance(value, bytes) else json.dumps(value, indent=1).encode()
    text = re.sub(rb'"command": "[^"]*"', b"", text)  # as it was typed, with its number of workers
    hashes = rb"recipe\.yaml, SHA-256</th>.*?</tr>|\"checksum\": \"\w+\""  # of the recipe, which names the number
    if name.endswith(
        "report.html"
    ):  # the page shows the command that made the run, or the recipe where only Python did
        text = re.sub(rb'id="reproduce">.*?<table', b"", text, flags=re.DOTALL)
    return re.sub(rb"(workers\W+)(1|2|None|null)\b|" + hashes, rb"\1", text, flags=re.DOTALL)

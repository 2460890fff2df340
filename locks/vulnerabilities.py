"""Known vulnerabilities of the locked packages: pip-audit, and an honest word about what it could not look up.

    make vulnerabilities                    what the locks hold, against PyPI's advisories
    make vulnerabilities LOOKUP=required    the same, and a failure where it cannot be done

`make check` runs it. Exit code 1: an advisory that locks/advisories.txt does not list with a reason. Without a network, or
with a mirror of PyPI that knows no advisories, nothing can be said, and that is what it says: exit code 0, or 1 where required.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LOCKS = ("dev.txt", "docs.txt", "torch-cuda.txt")
SECONDS = 300


def main() -> int:
    """Ask, print, and return the exit code."""
    required = os.environ.get("LOOKUP") == "required"
    try:
        packages, trouble = asked()
    except (OSError, subprocess.TimeoutExpired) as error:
        packages, trouble = [], str(error)
    known = accepted((HERE / "advisories.txt").read_text("utf-8"))
    return say(packages, trouble, known, required)


def asked() -> tuple[list[dict[str, Any]], str]:
    """pip-audit's word on every package, and what it says when it breaks off."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--format=json", "--progress-spinner=off"]
    for lock in LOCKS:
        command += ["-r", str(HERE / lock)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    try:
        return json.loads(done.stdout)["dependencies"], ""
    except (ValueError, KeyError, TypeError):
        return [], " ".join(done.stderr.split())[-300:]


def accepted(text: str) -> dict[str, str]:
    """Advisory -> why it is lived with; `ID reason`, a line each."""
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {words[0]: words[1] for words in lines}


def say(packages: list[dict[str, Any]], trouble: str, known: dict[str, str], required: bool) -> int:
    """The findings on stdout; the exit code."""
    looked_up = [p for p in packages if "skip_reason" not in p]
    found = [(p, v) for p in looked_up for v in p.get("vulns", ())]
    new = [(p, v) for p, v in found if not {v["id"], *v.get("aliases", ())} & set(known)]
    for package, advisory in found:
        why = next((known[i] for i in (advisory["id"], *advisory.get("aliases", ())) if i in known), None)
        fixed = ", ".join(advisory.get("fix_versions") or ()) or "no version yet"
        print(f"{package['name']} {package['version']}: {advisory['id']}, fixed in {fixed}{f' (accepted: {why})' if why else ''}")
    if new:
        print(f"vulnerabilities: {len(new)} known vulnerabilities; raise the pins in constraints.txt and `make lock`, or list them with a reason in locks/advisories.txt")
        return 1
    if not looked_up:
        why = trouble or (f"none of {len(packages)} packages is known to the service" if packages else "no answer")
        print(f"vulnerabilities: NOT DONE, nothing is known about vulnerabilities ({why})")
        return int(required)
    left = len(packages) - len(looked_up)
    missing = f"; {left} could not be looked up: {', '.join(p['name'] for p in packages if 'skip_reason' in p)}" if left else ""
    print(f"vulnerabilities: no known vulnerability in {len(looked_up)} packages{missing}")
    return int(required and left > 0)


if __name__ == "__main__":
    sys.exit(main())

#!/bin/sh
# Write the locks anew from pyproject.toml and constraints.txt: `make lock`, with uv (https://docs.astral.sh/uv) on the PATH.
# Each holds exact versions and the checksums of all their files on PyPI, for Linux x86-64 and Python 3.11 to 3.13:
#   core.txt        what the tool needs, without torch and the CUDA libraries that come with PyPI's torch
#   dev.txt         the same and what `make test` and `make check` need
#   docs.txt        the same as core.txt and what `make docs` needs
#   torch-cuda.txt  PyPI's torch for Linux and those libraries
#   torch-cpu.txt   a CPU build of the same torch: not on PyPI, so its checksum is written by hand
#   audit.txt       pip-audit, which has an environment of its own (vulnerabilities.py)
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
here="sys_platform == 'linux' and platform_machine == 'x86_64' and python_full_version < '3.14'"
{ cat pyproject.toml; printf '\n[tool.uv]\nenvironments = ["%s"]\n' "$here"; } > "$work/pyproject.toml"
torch=$(grep '^torch==' constraints.txt)
echo "$torch" > "$work/torch.in"
sed -n 's/^requires = \["\(setuptools[^"]*\)"\].*/\1/p' pyproject.toml > "$work/build.in" # pip builds the project with it
echo "pip-audit" > "$work/audit.in"
compile() { # compile OUT IN...
  out=$1; shift
  (cd "$work" && uv pip compile "$@" -c "$OLDPWD/constraints.txt" --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --quiet -o "$out")
  # every line carries the marker of the one environment that we lock for: said once, above
  sed -i "s/ ; platform_machine == 'x86_64' and sys_platform == 'linux'//; s/ ; python_full_version < '3.1[0-9]' and platform_machine == 'x86_64' and sys_platform == 'linux'//" "$work/$out"
}
compile cuda.txt pyproject.toml torch.in
compile core.txt pyproject.toml build.in
compile dev.txt pyproject.toml build.in --extra dev --extra lora --extra eight-bit
compile docs.txt pyproject.toml build.in --extra docs
compile audit.txt audit.in
pick() { # pick WHICH FILE: the entries whose name is (cuda) or is not (rest) torch or a library of CUDA
  awk -v which="$1" '/^[a-z]/ { cuda = $0 ~ /^(torch==|triton==|nvidia-|cuda-)/ } (which == "cuda") == cuda' "$2"
}
head="# made by locks/lock.sh (make lock); not to be edited"
{ echo "$head"; pick cuda "$work/cuda.txt"; } > locks/torch-cuda.txt
{ echo "$head"; pick rest "$work/core.txt"; } > locks/core.txt
{ echo "$head"; pick rest "$work/dev.txt"; } > locks/dev.txt
{ echo "$head"; pick rest "$work/docs.txt"; } > locks/docs.txt
{ echo "$head"; cat "$work/audit.txt"; } > locks/audit.txt

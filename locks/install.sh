#!/bin/sh
# install.sh ENVIRONMENT core|dev|docs [yes|no]: this project and what it needs into a virtual environment; the Makefile calls it.
#
# yes, the default on Linux x86-64: every file is checked against its checksum in locks/ before it is installed; torch is the
# one that is there already, else the CPU build of torch-cpu.txt where the index has it, else PyPI's with its CUDA libraries.
# no, the default elsewhere: exact versions of constraints.txt, no checksums.
set -eu
cd "$(dirname "$0")/.."
bin=$1/bin; set=$2; locked=${3:-}
case $set in dev) extras='[dev,lora,eight-bit]' ;; docs) extras='[docs]' ;; *) extras= ;; esac
[ -n "$locked" ] || case "$(uname -sm)" in "Linux x86_64") locked=yes ;; *) locked=no ;; esac
pip() { "$bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }
if [ "$locked" != yes ]; then
  echo "installing by constraints.txt: exact versions, no checksums" >&2
  pip -c constraints.txt -e ".$extras"
  exit
fi
checked() { pip --require-hashes --no-deps -r "locks/$1.txt"; }
if ! "$bin/python" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)'; then
  checked torch-cpu 2>/dev/null || checked torch-cuda || {
    echo "torch could not be installed with its checksum; install one of your choice into $1, or make LOCKED=no" >&2
    exit 1
  }
fi
checked "$set"
pip --no-deps --no-build-isolation -e .
"$bin/python" -m pip check >&2 || { echo "the packages in $1 do not fit together (above)" >&2; exit 1; }

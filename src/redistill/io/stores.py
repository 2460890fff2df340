"""Object storage: what lies at `s3://bucket/key`, listed, fetched whole into a folder of this machine, and written to.

    find("s3://bucket/data/*.jsonl")    [Stored(address="s3://bucket/data/a.jsonl", size=..., version="9f2c...")]
    fetch(stored)                       a path below cache_folder(), once the whole file is there
    address_of(path)                    "s3://bucket/data/a.jsonl" of such a path again

The stores are those of fsspec: s3fs for `s3://`, gcsfs for `gs://`, huggingface_hub for `hf://`; keys and the server's address come
from where those packages look for them (environment, configuration files). A `Path` has lost one of the two slashes
of an address, and is one still.
"""

import errno
import fnmatch
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redistill.config.extras import check_installed
from redistill.errors import OperatorError
from redistill.io.atomic import atomic_write, sentence
from redistill.safety.paths import home_path

SCHEMES = {"s3": "s3fs", "gs": "gcsfs", "hf": "huggingface_hub"}  # and the package that reads it
CACHE = "REDISTILL_CACHE"
HERE = "here"  # in the place of a scheme: a file of the run's machine that was sent to a node (far_nodes.py)
_ADDRESS = re.compile(r"(s3|gs|hf):/{1,2}([^/].*)", re.DOTALL)
_VERSIONS = ("ETag", "etag", "generation", "blob_id", "md5Hash")  # what the stores call the version of an object
_REFUSED = re.compile(
    r"Forbidden|AccessDenied|Access Denied|credentials|\b40[13]\b|InvalidAccessKey|SignatureDoesNotMatch"
)
_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as a store lists it: its address, size in bytes, and what changes when its bytes do."""

    address: str
    size: int
    version: str


# --- addresses --------------------------------------------------------------------------------------------------------


def is_address(path: str | Path) -> bool:
    """True for an address of object storage, also one that a Path has taken a slash from."""
    return _ADDRESS.match(str(path)) is not None


def address(path: str | Path) -> str:
    """The address with both slashes and without one at its end."""
    match = _ADDRESS.match(str(path))
    assert match, f"{path} is not an address"
    return f"{match[1]}://{match[2].rstrip('/')}"


def cache_folder() -> Path:
    """Where what was fetched lies, copies of GGUF files, and the folders in which runs of a store work: REDISTILL_CACHE, by default
    redistill in XDG_CACHE_HOME or ~/.cache."""
    if named := os.environ.get(CACHE):
        return home_path(named).absolute()
    return home_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").absolute() / "redistill"


def folder_of(place: str, of: str) -> Path:
    """The folder of this machine for an address: cache_folder()/place/s3/bucket/key."""
    scheme, _, rest = of.partition("://")
    parts = [part for part in rest.split("/") if part]
    if any(part in (".", "..") for part in parts):
        raise OperatorError(f"{of} contains `.` or `..`; write the full address.")
    return cache_folder() / place / scheme / Path(*parts)


def place_of_copy(path: str | Path) -> Path:
    """The path; of a run's address the folder into which a reader's copy is fetched, whether it was or not."""
    return folder_of("copies", address(path)) if is_address(path) else Path(path)


def address_of(path: str | Path) -> str:
    """The address that a fetched file came from, or its path on the run's machine; any other path as it is."""
    path = Path(path)
    here = cache_folder() / "files"
    if not path.is_relative_to(here):
        return str(path)
    scheme, *rest = path.relative_to(here).parts
    inside = "/".join(rest[:-2])  # the last two are the version and the name once more
    return f"/{inside}" if scheme == HERE else f"{scheme}://{inside}"


# --- talking to a store -----------------------------------------------------------------------------------------------


def check_readable(path: str | Path, where: str) -> None:
    """OperatorError, opened with `where`, where the package that reads this store is not installed; the store is not asked."""
    scheme = address(path).partition("://")[0]
    check_installed(SCHEMES[scheme], f"{where}: {scheme}://")


def open_store(of: str) -> Any:
    """The fsspec file system of an address. OperatorError where its package is not installed."""
    check_readable(of, of)
    scheme = of.partition("://")[0]
    import fsspec

    with talking(of):
        return fsspec.filesystem(scheme, use_listings_cache=False)


@contextmanager
def talking(to: str) -> Iterator[None]:
    """OperatorError in one sentence where a store refuses, does not answer, or has nothing there."""
    try:
        yield
    except OperatorError:
        raise
    except FileNotFoundError as error:
        raise OperatorError(f"nothing was found at {to}; check the bucket, the key and the endpoint.") from error
    except Exception as error:  # each store's package has errors of its own, which share no kind
        if isinstance(error, AssertionError | TypeError | AttributeError | NameError):
            raise
        why = " ".join(str(error).split())[:200] or type(error).__name__
        if isinstance(error, PermissionError) or "Credentials" in type(error).__name__ or _REFUSED.search(why):
            raise OperatorError(
                f"{to}: access denied ({why}); use credentials that may read and write there (for s3:// "
                f"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile)."
            ) from error
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise OperatorError(f"cannot download {to}: {sentence(error)}") from error
        raise OperatorError(
            f"{to}: the store gives an unexpected response ({why}); finished work is kept: run the same command again."
        ) from error


# --- reading ----------------------------------------------------------------------------------------------------------


def find(path: str | Path) -> list[Stored]:
    """The objects that an address names, sorted: one, all below a folder, or those that a glob matches. OperatorError where
    there is none."""
    of = address(path)
    store = open_store(of)
    scheme, _, key = of.partition("://")
    with talking(of):
        if is_glob(of):
            listed = store.find(root_of(key), detail=True)
            listed = {name: facts for name, facts in listed.items() if _match(name.split("/"), key.split("/"))}
        else:
            info = store.info(key)
            listed = {key: info} if info["type"] == "file" else store.find(key, detail=True)
    listed = {name: facts for name, facts in listed.items() if facts["type"] == "file" and not name.endswith("/")}
    if not listed:
        raise OperatorError(f"nothing was found at {of}; check the bucket, the key and the endpoint.")
    return [_stored(scheme, name, listed[name]) for name in sorted(listed)]


def is_glob(of: str) -> bool:
    """True where an address holds a pattern."""
    return _MAGIC.search(of) is not None


def root_of(of: str) -> str:
    """An address, or key, up to the folder before its pattern."""
    match = _MAGIC.search(of)
    return of if match is None else of[: match.start()].rpartition("/")[0]


def _match(names: Sequence[str], patterns: Sequence[str]) -> bool:
    """True where the parts of a key fit those of a glob as a path's would: `*` stays within a folder, `**` does not."""
    if not patterns:
        return not names
    if patterns[0] == "**":
        return any(_match(names[taken:], patterns[1:]) for taken in range(len(names) + 1))
    return bool(names) and fnmatch.fnmatchcase(names[0], patterns[0]) and _match(names[1:], patterns[1:])


def _stored(scheme: str, name: str, info: dict[str, Any]) -> Stored:
    said = next((info[word] for word in _VERSIONS if info.get(word)), None) or info.get("LastModified", "")
    version = hashlib.sha256(f"{said} {info['size']}".encode()).hexdigest()[:16]
    return Stored(f"{scheme}://{name.lstrip('/')}", int(info["size"]), version)


def place_of(stored: Stored) -> Path:
    """Where `fetch` puts an object: below its own key and version, under its own name, which rows are called by."""
    return folder_of("files", stored.address) / stored.version / stored.address.rpartition("/")[2]


def fetch_one(path: str | Path) -> Path:
    """The one file at an address, fetched. OperatorError where there are several."""
    objects = find(path)
    if len(objects) > 1:
        raise OperatorError(f"{address(path)} holds {len(objects):,} files; give one of them.")
    return fetch(objects[0])


def fetch(stored: Stored) -> Path:
    """The object as a file of this machine: fetched whole, or kept from before where its version and size are those.
    OperatorError where it is gone, has changed meanwhile, or does not come to its end."""
    target = place_of(stored)
    if target.exists() and target.stat().st_size == stored.size:
        return target
    store = open_store(stored.address)
    with atomic_write(target) as part:
        with talking(stored.address):
            store.get_file(stored.address.partition("://")[2], str(part))
        if part.stat().st_size != stored.size:
            raise OperatorError(
                f"{stored.address} has {part.stat().st_size:,} bytes and is listed with {stored.size:,}: truncated, "
                f"or changed meanwhile; run the same command again."
            )
    return target

"""Hook of mkdocs: what the pages link to outside docs/ becomes part of the site, so that no link leads out of it.

docs/training.md links to ../src/redistill/train/step.py  ->  the site has the page files/src/redistill/train/step.py.html

A linked Markdown file becomes a page whose own links are followed in turn; any other text becomes a page that shows it; a folder
becomes a list of its files. Of a file that is too large to show, or no text, the page says so.
"""

import posixpath
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(\[[^\]]*\])\(([^()\s#]*)(#[^()\s]*)?\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
SHOWN = 200_000  # characters of a file that are shown at most
IMAGES = (".png", ".svg", ".jpg")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".sh": "bash", ".json": "json"}


def on_files(files: "Files", *, config: Any) -> "Files":
    """The files of docs/ and, as generated pages below files/, everything in the repository that they lead to."""
    from mkdocs.structure.files import File

    waiting = {target for file in files if file.src_uri.endswith(".md") for target in targets(f"docs/{file.src_uri}")}
    done: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in done or name.startswith("docs/"):
            continue
        done.add(name)
        if name.endswith(IMAGES):
            files.append(File.generated(config, page_of(name), abs_src_path=str(ROOT / name)))
            continue
        files.append(File.generated(config, page_of(name), content=content_of(name)))
        if name.endswith(".md"):
            waiting |= targets(name)
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Links to the repository's files lead to their pages on the site."""
    here = repository_path(page.file.src_uri)

    def moved(match: re.Match[str]) -> str:
        text, target, heading = match.group(1), match.group(2), match.group(3) or ""
        path = resolved(here, target)
        if path is None:
            return match.group(0)
        uri = path.removeprefix("docs/") if path.startswith("docs/") else page_of(path)
        return f"{text}({posixpath.relpath(uri, posixpath.dirname(page.file.src_uri) or '.')}{heading if path.endswith('.md') else ''})"

    if here.endswith(".md"):
        return outside_of_code(markdown, lambda prose: LINK.sub(moved, prose))
    return markdown


def outside_of_code(markdown: str, change: Any) -> str:
    """The text with `change` applied to all but its fenced blocks."""
    pieces, end = [], 0
    for block in FENCE.finditer(markdown):
        pieces += [change(markdown[end : block.start()]), block.group(0)]
        end = block.end()
    return "".join([*pieces, change(markdown[end:])])


def page_of(name: str) -> str:
    """The page below files/ that shows a file or a folder of the repository."""
    return f"files/{name}" if name.endswith((".md", *IMAGES)) else f"files/{name}.md"


def repository_path(src_uri: str) -> str:
    """The path in the repository of what a page of the site shows."""
    if not src_uri.startswith("files/"):
        return f"docs/{src_uri}"
    name = src_uri.removeprefix("files/")
    return name if (ROOT / name).exists() else name.removesuffix(".md")


def resolved(here: str, target: str) -> str | None:
    """The path in the repository that a link of the file `here` names; None for addresses and for what is not there."""
    if not target or "://" in target or target.startswith(("mailto:", "/")):
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(here), target))
    return path if not path.startswith("..") and (ROOT / path).exists() else None


def targets(name: str) -> set[str]:
    """The files and folders of the repository that a Markdown file links to."""
    path = ROOT / name
    found: set[str] = set()
    if path.is_file():
        prose = FENCE.sub("", path.read_text("utf-8"))
        found = {resolved(name, match.group(2)) or "" for match in LINK.finditer(prose)}
    return found - {""}


def content_of(name: str) -> str:
    """The Markdown of a page below files/."""
    path = ROOT / name
    if name.endswith(".md"):
        return path.read_text("utf-8")
    if path.is_dir():
        names = sorted(inner.name for inner in path.iterdir() if not inner.name.startswith((".", "__")))
        return f"# {name}\n\n" + "".join(f"- `{inner}`\n" for inner in names)
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        return f"# {name}\n\nThis file is not text; look at it in the repository.\n"
    if len(text) > SHOWN:
        return f"# {name}\n\nThis file is too long to show ({len(text):,} characters); look at it in the repository.\n"
    return f"# {name}\n\n````{LANGUAGES.get(PurePosixPath(name).suffix, 'text')}\n{text}\n````\n"

"""What README.md and docs/*.md point at is there: links, headings, files of the repository, settings of a recipe."""

import importlib.util
import posixpath
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from redistill.config import tables
from redistill.config.binding import options_of
from redistill.corpus import SOURCES
from redistill.evaluate import BENCHMARKS
from redistill.evaluate.choose import CHOICES
from redistill.io.tracking import TRACKERS
from redistill.rollout import ENGINES
from redistill.score import SCORERS
from redistill.select import FILTERS, PAIRINGS
from redistill.train import MODIFIERS, OBJECTIVES
from redistill.verify import JUDGES, VERIFIERS

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", *DOCS]
LINKING = [*PAGES, ROOT / "benchmarks" / "README.md", *sorted((ROOT / "experiments").glob("*/README.md"))]
LINK = re.compile(r"\]\(([^()\s]+)\)")
REPO_PATH = re.compile(r"(?<![\w./-])(?:src|tests|recipes|docs|benchmarks)/[\w./-]*\w")
FILE_NAME = re.compile(r"(?<![\w./-])[a-z_]+\.py\b")


def prose(page: Path) -> str:
    """The page without its blocks of code, for the links; blocks of plain text (maps of files) stay."""
    return re.sub(r"^```(?!text)\w+\n.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def headings(page: Path) -> set[str]:
    """The anchors that a page's headings get, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_relative_link_leads_somewhere() -> None:
    broken = []
    for page in LINKING:
        for link in LINK.findall(prose(page)):
            if link.startswith(("http://", "https://")):
                continue
            target, _, heading = link.partition("#")
            there = (page.parent / target) if target else page
            if not there.exists():
                broken.append(f"{page.relative_to(ROOT)} links to {link}, which is not there")
            elif heading and heading not in headings(there):
                broken.append(f"{page.relative_to(ROOT)} links to {link}: no such heading")
    assert not broken


def test_every_path_of_the_repository_that_a_page_names_exists() -> None:
    gone = [
        f"{page.relative_to(ROOT)} names {path}"
        for page in PAGES
        for path in REPO_PATH.findall(page.read_text("utf-8"))
        if not (ROOT / path).exists()
    ]
    assert not gone


def test_every_row_of_a_table_stands_below_a_header() -> None:
    """A blank line within a table ends it: what follows is then shown as text with bars."""
    cut = []
    for page in LINKING:
        lines = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL).split("\n")
        begins = [i for i, line in enumerate(lines) if line.startswith("|") and not lines[i - 1].startswith("|")]
        cut += [
            f"{page.relative_to(ROOT)}: {lines[i][:60]}" for i in begins if not re.match(r"\|[ :|-]+\|$", lines[i + 1])
        ]
    assert not cut


def test_every_extra_and_every_make_target_is_on_the_install_page() -> None:
    page = (ROOT / "docs/install.md").read_text("utf-8")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    (targets,) = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert not [name for name in extras if f"| `{name}` |" not in page]
    assert not [name for name in targets.split() if f"`{name}`" not in page.partition("## Locks")[0]]


def test_the_index_and_the_site_name_every_page() -> None:
    index, site = ((ROOT / name).read_text("utf-8") for name in ("docs/index.md", "mkdocs.yml"))
    pages = [str(page.relative_to(ROOT / "docs")) for page in DOCS if page.name != "index.md"]
    assert not [name for name in pages if f"({name})" not in index], "add a line to docs/index.md"
    assert not [name for name in pages if f": {name}\n" not in site], "add a line to `nav` of mkdocs.yml"


def module_of_docs(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_link_leads_out_of_the_site(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the hook of mkdocs, without mkdocs: every relative link of every page leads to a page that the hook makes or docs/ has."""
    hook, made = module_of_docs("site_hook"), {}

    class Files(list):
        """What mkdocs hands to the hook."""

    stand_in = SimpleNamespace(
        File=SimpleNamespace(generated=lambda config, uri, **content: SimpleNamespace(src_uri=uri, **content))
    )
    monkeypatch.setitem(sys.modules, "mkdocs.structure.files", stand_in)
    pages = Files(SimpleNamespace(src_uri=str(path.relative_to(ROOT / "docs"))) for path in DOCS)
    for file in hook.on_files(pages, config=None):
        text = (
            getattr(file, "content", None) or (ROOT / "docs" / file.src_uri).read_text("utf-8")
            if file.src_uri.endswith(".md")
            else ""
        )
        made[file.src_uri] = text
    assert "files/src/redistill/train/step.py.md" in made and "def " in made["files/src/redistill/train/step.py.md"]
    lost = []
    for uri, text in made.items():
        moved = hook.on_page_markdown(text, page=SimpleNamespace(file=SimpleNamespace(src_uri=uri)))
        for link in LINK.findall(re.sub(r"^```.*?^```", "", moved, flags=re.MULTILINE | re.DOTALL)):
            target = posixpath.normpath(posixpath.join(posixpath.dirname(uri), link.partition("#")[0]))
            if (
                "://" not in link
                and not link.startswith(("#", "mailto:"))
                and target not in made
                and not (ROOT / "docs" / target).is_file()
            ):
                lost.append(f"{uri}: {link}")
    assert not lost


def test_the_reference_is_what_the_code_says() -> None:
    generate = module_of_docs("generate")
    stale = [path.name for path, text in generate.pages().items() if path.read_text("utf-8") != text]
    assert not stale, "write them anew: python docs/generate.py"


def test_every_file_in_the_map_of_the_layout_exists() -> None:
    known = {path.name for folder in ("src", "benchmarks") for path in (ROOT / folder).rglob("*.py")}
    (stage_dirs,) = [
        text
        for text in re.findall(r"```text\n(.*?)```", (ROOT / "docs" / "architecture.md").read_text("utf-8"), re.DOTALL)
        if "src/" in text
    ]
    assert set(FILE_NAME.findall(stage_dirs)) <= known


def test_every_benchmark_is_on_the_evaluation_page() -> None:
    page = (ROOT / "docs" / "evaluation.md").read_text("utf-8")
    assert not [name for name, known in BENCHMARKS.items() if f"`{name}`" not in page or known.hub not in page]


def test_every_setting_and_every_plug_in_option_is_on_the_recipes_page() -> None:
    models = [kind for kind in vars(tables).values() if isinstance(kind, type) and issubclass(kind, tables.Settings)]
    names = {name for table in models for name in table.model_fields} - {"options"}
    for registry in (
        CHOICES,
        SOURCES,
        VERIFIERS,
        SCORERS,
        FILTERS,
        PAIRINGS,
        OBJECTIVES,
        MODIFIERS,
        ENGINES,
        JUDGES,
        TRACKERS,
    ):
        for name, function in registry.items():
            names |= {name, *options_of(function)}
    page = (ROOT / "docs" / "recipes.md").read_text("utf-8")
    assert not sorted(name for name in names if f"`{name}`" not in page)


def test_the_glossary_is_the_table_of_contributing() -> None:
    glossary, contributing = ((ROOT / name).read_text("utf-8") for name in ("docs/glossary.md", "CONTRIBUTING.md"))
    words = re.findall(r"^\| .*", contributing.partition("## Words")[2], re.MULTILINE)
    assert len(words) > 30 and re.findall(r"^\| .*", glossary, re.MULTILINE) == words

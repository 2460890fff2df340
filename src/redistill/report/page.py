"""The page: a run folder in, report.html out. Reads files only, so it can be made again at any time, anywhere.

    write_report(Path("runs/demo"))  ->  runs/demo/report.html

The page is one file without scripts or addresses; its policy line forbids the browser to load or run anything. The
same folder gives the same bytes.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from redistill.io.atomic import write_bytes
from redistill.report.blocks import Block, has_pictures
from redistill.report.files import RunFiles
from redistill.report.sections.accuracy import accuracy
from redistill.report.sections.choosing import choosing
from redistill.report.sections.cross_run import other_runs, other_verifiers
from redistill.report.sections.difficulty import difficulty
from redistill.report.sections.funnel import funnel
from redistill.report.sections.label_noise import label_noise
from redistill.report.sections.pair_lengths import gaps
from redistill.report.sections.policies import policies, teachers
from redistill.report.sections.reproducibility import facts
from redistill.report.sections.results import comparisons, diagnosis, result, scores
from redistill.report.sections.retrieval import retrieval
from redistill.report.sections.rollouts import rollouts
from redistill.report.sections.self_correction import self_correction
from redistill.report.sections.steps import steps
from redistill.report.sections.thinking import thinking
from redistill.report.sections.trace_scores import trace_scores
from redistill.report.sections.traces import MAX_ANSWERS, answers, num_wanted, pairs
from redistill.report.sections.training import training
from redistill.report.sections.verdicts import lengths, verdicts
from redistill.report.text import visible

_HERE = Path(__file__).parent
MAX_BYTES = 3_000_000  # of a page: it is sent by mail and opened on a phone


def write_report(run_folder: Path) -> Path:
    """Write `<run_folder>/report.html` from what the stages have left there, and return its path.

    A stage that has not run leaves one plain line in its section. OperatorError for a missing folder or damaged file.
    """
    path = run_folder / "report.html"
    write_bytes(path, small_enough(RunFiles(run_folder)))
    return path


def small_enough(run: RunFiles) -> bytes:
    """The page in at most MAX_BYTES: where its texts make it larger, half as many are shown, and half again.

    RuntimeError when it is too large without any text; all else on the page is bounded.
    """
    while len(page := render(run).encode("utf-8")) > MAX_BYTES:
        if run.most_texts == 0:
            raise RuntimeError(f"the report of {run.folder} has {len(page):,} bytes without a single trace")
        run.most_texts = min(run.most_texts, max(num_wanted(run), MAX_ANSWERS)) // 2
    return page


def render(run: RunFiles) -> str:
    """The page's HTML. Every value passes `visible` and is escaped, but for the charts' SVG and our own style sheet."""
    shown = {t: s for t, s in SECTIONS.items() if not run.is_evaluation or t in OF_AN_EVALUATION}
    found = [(title, section(run)) for title, section in shown.items()]
    sections = [one for one in found if one[1]]  # nothing was asked of the commands beside the run: no heading
    title = run.setting("report", "title") or run.facts.name or run.folder.name
    return render_page(title, sections, kind="run report", is_toy=run.is_toy, is_folded=lambda name: name not in OPEN)


def render_page(
    title: str,
    sections: Sequence[tuple[str, list[Block]]],
    *,
    kind: str,
    is_toy: bool = False,
    is_folded: Callable[[str], bool] = lambda heading: False,
) -> str:
    """A page's HTML from its headings and blocks; `kind` says above the title what it is a page of. A folded section shows its
    heading; a link to it opens it, and paper shows it whole."""
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        finalize=visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        title=title,
        style=Markup((_HERE / "style.css").read_text("utf-8")),
        sections=[(anchor(heading), heading, blocks, is_folded(heading)) for heading, blocks in sections],
        kind=kind,
        is_toy=is_toy,
        has_pictures=any(has_pictures(blocks) for _, blocks in sections),
    )


def anchor(title: str) -> str:
    """'Teacher pairs' -> 'teacher-pairs'."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


# The page, top to bottom: heading -> what stands under it. One section is one function and one line here.
SECTIONS: dict[str, Callable[[RunFiles], list[Block]]] = {
    "Result": result,
    "Scores": scores,
    "Choosing among samples": choosing,
    "Labelled steps": steps,
    "Self-correction": self_correction,
    "Paired comparisons": comparisons,
    "Against other runs": other_runs,
    "Other verifiers": other_verifiers,
    "Diagnosis": diagnosis,
    "Funnel": funnel,
    "Verdicts": verdicts,
    "Label noise": label_noise,
    "Trace scores": trace_scores,
    "Difficulty": difficulty,
    "Lengths": lengths,
    "Thinking": thinking,
    "Sources and teachers": teachers,
    "Pairs": gaps,
    "Pairings compared": policies,
    "Training": training,
    "Own answers": rollouts,
    "Retrieval": retrieval,
    "Accuracy over steps": accuracy,
    "Teacher pairs": pairs,
    "Student answers": answers,
    "To do it again": facts,
}

OPEN = ("Result", "Scores", "Paired comparisons")  # sections that are not folded

# What a run of `redistill evaluate` has to show: it has neither traces of a teacher nor stages.
OF_AN_EVALUATION = (
    "Result",
    "Scores",
    "Choosing among samples",
    "Labelled steps",
    "Self-correction",
    "Against other runs",
    "Other verifiers",
    "Thinking",
    "Student answers",
    "To do it again",
)

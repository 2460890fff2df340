"""The page: a run folder in, report.html out. Reads files only, so it can be made again at any time, anywhere.

    write_report(Path("runs/demo"))  ->  runs/demo/report.html

The same folder gives the same bytes. How blocks become HTML, and how large a page may be: render.py.
"""

from collections.abc import Callable
from pathlib import Path

from redistill.io.atomic import write_bytes
from redistill.report.blocks import Block
from redistill.report.cross_run import other_runs, other_verifiers
from redistill.report.files import RunFiles
from redistill.report.render import fitted, render_page
from redistill.report.sections.accuracy import accuracy
from redistill.report.sections.choosing import choosing
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
from redistill.report.sections.traces import answers, num_wanted, pairs
from redistill.report.sections.training import training
from redistill.report.sections.verdicts import lengths, verdicts

MOST_BESIDE_PAIRS = 8  # texts of a kind in any section but that of the pairs, whose number a recipe sets


def write_report(run_folder: Path) -> Path:
    """Write `<run_folder>/report.html` from what the stages have left there, and return its path.

    A stage that has not run leaves one plain line in its section. OperatorError for a missing folder or damaged file.
    """
    path, run = run_folder / "report.html", RunFiles(run_folder)

    def with_texts(most: int) -> str:
        run.most_texts = most
        return render(run)

    write_bytes(path, fitted(with_texts, max(num_wanted(run), MOST_BESIDE_PAIRS), f"the report of {run_folder}"))
    return path


def render(run: RunFiles) -> str:
    """The page's HTML. Every value passes `visible` and is escaped, but for the charts' SVG and our own style sheet."""
    shown = {t: s for t, s in SECTIONS.items() if not run.is_evaluation or t in OF_AN_EVALUATION}
    sections = [(title, section(run)) for title, section in shown.items()]
    title = run.setting("report", "title") or run.facts.name or run.folder.name
    return render_page(title, sections, kind="run report", is_toy=run.is_toy, is_folded=lambda name: name not in OPEN)


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
    "Reproduce": facts,
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
    "Reproduce",
)

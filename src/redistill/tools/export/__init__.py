"""`redistill export`: a run's problems, rewards and objective for a trainer that scales further than one node,
or its examples in a layout of public data.

    export(Path("runs/x"), to="verl", out=Path("elsewhere"))   ->  the folder, with prompts, reward.py, a configuration, README.md

An exporter is a function of an ExportJob that writes files into its folder. To add one: a file here, a line in EXPORTS, its
templates, a test of the files that it writes, a line in docs/how-to/training-elsewhere.md.
"""

import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from redistill.config.validation_messages import did_you_mean
from redistill.errors import OperatorError
from redistill.io.atomic import check_output, make_folder, writing
from redistill.tools.export.am import am
from redistill.tools.export.job import ExportJob, Loss, read_job
from redistill.tools.export.prime_rl import prime_rl
from redistill.tools.export.students import STUDENT_EXPORTS, read_student
from redistill.tools.export.tinker import tinker
from redistill.tools.export.trl import trl
from redistill.tools.export.verl import verl

EXPORTS: dict[str, Callable[[ExportJob], None]] = {
    "trl": trl,
    "verl": verl,
    "prime-rl": prime_rl,
    "tinker": tinker,
}
# layouts of data that need no stage of training: what select kept, of a run and into a folder
CORPORA: dict[str, Callable[[Path, Path], None]] = {
    "am": am,
}


def export(
    run: Path, *, to: str, out: Path, stage: str | None = None, loss: Loss = "ours", code: Sequence[Path] = ()
) -> Path:
    """Write what the engine `to` needs to train on a run's problems, its examples in the layout `to`, or its student for the
    program `to`, and return the folder.

    stage: whose rewards, objective and settings; default: the last one with rollouts, else the last one; of programs that take
    the student (`hub`, `gguf`, `lm-eval`, `lighteval`, `vllm`) the last one that has left one. loss: `ours` for
    the stage's objective, `engine` for the engine's own. OperatorError where the engine is not known or cannot lower the
    objective, and where `out` is there already.
    """
    every = [*EXPORTS, *CORPORA, *STUDENT_EXPORTS]
    if to not in every:
        raise OperatorError(f"export: there is no engine {to!r}{did_you_mean(to, every)}")
    if to in CORPORA and (stage is not None or loss != "ours" or code):
        raise OperatorError(f"export: --to {to} writes the examples of a run; leave --stage, --loss and --code out.")
    if to in STUDENT_EXPORTS and (loss != "ours" or code):
        raise OperatorError(
            f"export: --loss and --code belong to a trainer, but {to} only takes the student; leave them out."
        )
    check_output(out)
    if out.exists():
        raise OperatorError(_taken(out))
    part = out.with_name(f"{out.name}.{uuid.uuid4().hex[:8]}.part")  # no other export has that name
    with writing(out):
        make_folder(part, "--out")
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, part, ignore_errors=True)
            if to in CORPORA:
                CORPORA[to](run, part)
            elif to in STUDENT_EXPORTS:
                STUDENT_EXPORTS[to](read_student(run, out=part, stage=stage))
            else:
                EXPORTS[to](read_job(run, out=part, stage=stage, loss=loss, code=code))
            try:
                os.replace(part, out)
            except OSError as error:
                if out.exists():  # another export was faster
                    raise OperatorError(_taken(out)) from error
                raise
            undo.pop_all()
    return out


def _taken(out: Path) -> str:
    return f"{out} already exists; name another folder, or remove it first."

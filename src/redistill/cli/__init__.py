"""The command line: one command per function of redistill.api, which declares it; here stands what each prints.

redistill run quickstart --set seed=1
redistill show runs/quickstart/select/pairs/part-00000.parquet 3

A user's mistake is one sentence and exit code 2. Heavy imports wait inside the functions, so that --help answers at once.
"""

import io
import os
import signal
import sys
from collections import namedtuple
from collections.abc import Sequence

from cyclopts import CycloptsError, MissingArgumentError, UnknownCommandError, UnusedCliTokensError

from redistill import api
from redistill.cli import printing
from redistill.cli.cross_run import compare_text, regrade_text
from redistill.cli.generate import Command, make_app
from redistill.cli.scores import scores_text
from redistill.cli.serve import serve_text
from redistill.cli.termination import like_ctrl_c
from redistill.cli.verify import verify_text
from redistill.errors import OnlyCounted, OperatorError
from redistill.safety.paths import check_text
from redistill.safety.terminal import guard, plain

ABOUT = """\
redistill: train a student model on right and wrong reasoning traces, and report honestly how good it is.

A recipe (a YAML file) says where the traces are, how they are verified, which become examples and pairs, how the \
student is trained, and how it is scored. `redistill run` runs the stages \
corpus > verify > select > train > evaluate > report and writes everything to one folder.

`redistill --install-completion` completes commands, options and choices in your shell.
"""

COMMANDS: dict[str, Command] = {
    "run": Command(api.run, printing.run_text, printing.run_data),
    "evaluate": Command(api.evaluate, printing.evaluate_text, printing.run_scores),
    "show": Command(api.show, printing.show_text, printing.show_data),
    "why": Command(api.why, printing.why_text, printing.why_data),
    "scores": Command(api.scores, scores_text),
    "compare": Command(api.compare, compare_text),
    "regrade": Command(api.regrade, regrade_text),
    "plan": Command(api.plan, printing.plan_text),
    "lr-find": Command(api.lr_find, printing.lr_find_text),
    "sweep": Command(api.sweep, printing.sweep_text),
    "serve": Command(api.serve, serve_text, data=None),
    "doctor": Command(
        api.doctor,
        printing.doctor_text,
        printing.doctor_data,
        error=lambda findings, _: "\n  ".join(findings.sentences),
    ),
    "recipes": Command(api.recipes, printing.recipes_text),
    "validate": Command(
        api.validate, printing.validate_text, printing.validate_data, printing.validate_error, printing.validate_recipe
    ),
    "validate --schema": Command(api.schema, printing.schema_text, data=None),
    "init": Command(api.init, printing.init_text, printing.init_data, call=printing.init_recipe),
    "audit": Command(api.audit, printing.audit_text),
    "verify": Command(api.verify, verify_text),
    "score": Command(api.score, printing.score_text),
    "rollout": Command(api.rollout, printing.rollout_text),
    "datafree": Command(api.datafree, printing.datafree_text, printing.datafree_data),
    "export": Command(api.export, printing.export_text, printing.path_data("exported")),
    "report": Command(api.report, printing.path_text, printing.path_data("report")),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, do the command, exit 0, or 2 with one sentence on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without é shows \xe9 instead of a traceback
    guard()
    # a thread pool of the tokenizers' own does not survive a fork
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    words = list(sys.argv[1:] if arguments is None else arguments)
    with like_ctrl_c() as ended_by:
        try:
            _do(words)
        except KeyboardInterrupt:
            number = ended_by()
            # Where Ctrl-C fell into an exec() of a library (every dataclass is made by one), CPython remembers it and ends the process by
            # the signal, whatever status it is given. The next text that is evaluated, as in making a named tuple, makes it forget.
            namedtuple("_Forgotten", ())
            print(file=sys.stderr)
            _say(f"stopped{f' by {number.name}' if number else ''}; run the same command again to go on from here.")
            sys.exit(128 + (number or signal.SIGINT))


def _do(words: list[str]) -> None:
    try:
        if not words:
            raise OperatorError("no command given; `redistill --help` lists them.")
        for word in words:
            check_text(word)
        first = words[0]
        used = [name for name in COMMANDS if name.split()[0] == first] or ([] if first in ("--help", "-h") else None)
        app = make_app(COMMANDS, ABOUT, used)
        app(words, print_error=False, exit_on_error=False, result_action="return_value")
    except OnlyCounted as counted:
        _say(str(counted))
    except OperatorError as error:
        _say(str(error))
        sys.exit(2)
    except CycloptsError as error:
        _say(_slip(error, words[0]))
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `| head` closed the pipe: no complaint at exit
    except OSError as error:
        from redistill.io.atomic import sentence

        said = sentence(error)
        if said is None:  # none of those that a user can mend
            raise
        _say(said)
        sys.exit(2)


def _slip(error: CycloptsError, command: str) -> str:
    """The sentence on words that do not parse, with where to read on."""
    said = " ".join(str(error).split())
    if isinstance(error, UnknownCommandError):
        said = said.partition(" Available commands:")[0]
        return said if "Did you mean" in said else f"{said} `redistill --help` lists the commands."
    if isinstance(error, UnusedCliTokensError):
        words = " ".join(error.unused_tokens or ())
        return (
            f"unexpected argument of `redistill {command}`: {words}; `redistill {command} --help` lists its arguments."
        )
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        without_value = error.keyword or next((one.keyword for one in error.argument.tokens if one.keyword), None)
        needs = f"a value after {without_value}" if without_value else error.argument.name
        return f"`redistill {command}` needs {needs}; `redistill {command} --help` says more."
    return said


def _say(sentence_: str) -> None:
    print(f"redistill: {plain(sentence_)}", file=sys.stderr)

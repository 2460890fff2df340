"""The command line, made from the functions of redistill.api: names, types, defaults, help and examples stand there.

    app = make_app({"show": Command(api.show, text=show_text)}, "Train a student on reasoning traces.")
    app(["show", "m.jsonl", "-1"])

cyclopts parses, suggests the nearest word, writes help and completes in shells. Added here: what is an option and what an argument,
flags for the values of a parameter (--keep, --remake), and --json and --log-level for every command.
"""

import inspect
import json
import re
import sys
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from cyclopts import App, Parameter

from redistill import __version__
from redistill.api.parameters import FirstArgument, Flags
from redistill.cli.help_format import HelpFormat
from redistill.errors import OperatorError
from redistill.safety.terminal import plain

SECTIONS = re.compile(r"^(Args|Returns|Examples):\n", re.MULTILINE)
PLAIN = Parameter(negative=(), json_list=False, json_dict=False)  # no --no-FLAG; a value in brackets is text
Options = Mapping[str, Any]  # a command's parameters by name, as they were given or by default


@dataclass(frozen=True)
class Command:
    """A command: a function of redistill.api, and how its result is printed."""

    function: Callable[..., Any]  # its parameters, docstring and result are the command's
    text: Callable[
        ..., str | None
    ]  # what people read; None where it has been printed. Its keyword-only parameters are flags
    data: Callable[[Any, Options], Any] | None = lambda result, _: (
        result
    )  # what --json prints; None: a command without --json
    error: Callable[[Any, Options], str] = lambda result, _: ""  # the sentence on a result in which something is wrong
    call: Callable[..., Any] | None = None  # in place of the function, where `text` needs more than it returns


def make_app(commands: Mapping[str, Command], about: str, used: Collection[str] | None = None) -> App:
    """The parser of the whole command line. used: the commands whose parameters will be needed, None for all."""
    app = App(
        "redistill", help=about, version=f"redistill {__version__}", help_format="plaintext", help_formatter=HelpFormat(),
        default_parameter=PLAIN, suppress_keyboard_interrupt=False,
    )  # fmt: skip
    parents = {"": app}
    for number, (name, command) in enumerate(commands.items()):
        parent, _, word = name.rpartition(" ")
        sections = docstring(command.function)
        made = App(
            word, help=sections[""], help_epilogue=f"examples:\n{_indented(sections['Examples'])}", sort_key=number,
            version_flags=(), default_parameter=PLAIN,
        )  # fmt: skip
        if used is None or name in used:
            made.default(_callable(command))
        parents[parent].command(made)
        parents[name] = made
    app.register_install_completion_command(help="Install completion for your shell: --shell bash, zsh or fish.")
    return app


def docstring(function: Callable[..., Any]) -> dict[str, str]:
    """The sections of a docstring by title, "" the first; paragraphs of that one are single lines, for a terminal to fill."""
    parts = SECTIONS.split(inspect.getdoc(function) or "")
    sections = dict(zip(["", *parts[1::2]], [part.strip("\n") for part in parts[::2]]))
    sections[""] = "\n\n".join(" ".join(paragraph.split()) for paragraph in sections[""].split("\n\n"))
    return {name: inspect.cleandoc(f"\n{text}") for name, text in sections.items()}


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _callable(command: Command) -> Callable[..., None]:
    """The function that cyclopts calls: its signature is that of the command line."""
    parameters = cli_parameters(command)

    def work(*given: Any, **named: Any) -> None:
        bound = inspect.Signature(parameters).bind(*given, **named)
        bound.apply_defaults()
        _do(command, dict(bound.arguments))

    work.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    work.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    work.__doc__ = command.function.__doc__
    return work


def cli_parameters(command: Command) -> list[inspect.Parameter]:
    """The function's parameters as the command line has them: arguments, then options."""
    parameters = []
    for parameter, hint in _typed(command.function):
        flags = next((one for one in get_args(hint)[1:] if isinstance(one, Flags)), None)
        if flags is not None:
            parameters += [_option(value, bool, Parameter(help=help), False) for value, help in flags.help.items()]
            continue
        named = any(isinstance(one, Parameter) and one.name for one in get_args(hint)[1:])
        positional = parameter.kind is parameter.POSITIONAL_OR_KEYWORD and not named
        if FirstArgument not in get_args(hint)[1:]:
            parameter = parameter.replace(kind=parameter.POSITIONAL_ONLY if positional else parameter.KEYWORD_ONLY)
        parameters.append(parameter.replace(annotation=hint))
    for parameter, hint in _typed(command.text):
        if parameter.kind is parameter.KEYWORD_ONLY:
            parameters.append(parameter.replace(annotation=hint))
    if command.data is not None:
        parameters.append(_option("json", bool, Parameter(help="print the result as JSON"), False))
    level = Parameter(
        help="what is printed on stderr: error hides progress, info and debug add the libraries' logs, debug also the "
        "traceback of an error"
    )
    parameters.append(_option("log_level", Literal["debug", "info", "warning", "error"] | None, level, None))
    return sorted(parameters, key=lambda parameter: parameter.kind)


def _typed(function: Callable[..., Any]) -> list[tuple[inspect.Parameter, Any]]:
    hints = inspect.get_annotations(function)
    return [(parameter, hints.get(name)) for name, parameter in inspect.signature(function).parameters.items()]


def _option(name: str, kind: Any, parameter: Parameter, default: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, parameter]
    )


def _do(command: Command, options: dict[str, Any]) -> None:
    """Call the function, print what it found. OperatorError where something is wrong, with its traceback at --log-level debug."""
    from redistill.io.progress import set_level

    level, as_json = options.pop("log_level"), options.pop("json", False)
    set_level(level)
    printing = {p.name: options.pop(p.name) for p, _ in _typed(command.text) if p.kind is p.KEYWORD_ONLY}
    for name, hint in inspect.get_annotations(command.function).items():
        for flags in (one for one in get_args(hint)[1:] if isinstance(one, Flags)):
            given = [value for value in flags.help if options.pop(value)]
            if len(given) > 1:
                raise OperatorError(f"--{given[0]} and --{given[1]} exclude each other; give one of them.")
            options |= {name: given[0]} if given else {}
    try:
        result = (command.call or command.function)(**options)
        if as_json and command.data is not None:
            if (document := command.data(result, options)) is not None:
                print(json.dumps(document, indent=2))
        elif (text := command.text(result, options, **printing)) is not None:
            print(plain(text))
        sys.stdout.flush()  # before the sentences on stderr
        if sentence := command.error(result, options):
            raise OperatorError(sentence)
    except OperatorError as error:
        if level == "debug":
            print(plain("".join(traceback.format_exception(error))), file=sys.stderr)
        raise

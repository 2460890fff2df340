"""A chat template is a program out of a model's folder: it is tried once, in a process that may neither hang nor grow.

    try_template(tokenizer, "org/model")      OperatorError where it does not end, or asks for more memory than a text does

transformers renders templates in Jinja's sandbox, which keeps them from files and from Python's insides, but not from
`{% for i in range(99999) %}` in itself or from `'x' * 10 ** 12`. What a template does only for some later message is not seen here.
"""

import os
import resource
import signal
import warnings
from typing import Any

from redistill.errors import OperatorError

TRIAL_SECONDS = 10  # of CPU; a template renders in a millisecond
TRIAL_BYTES = 1 << 30  # beside what the process has
TRIALS = ([{"role": "user", "content": "1+1="}], [{"role": "user", "content": "a \u00e9 {problem} \n" * 200}])
_passed: set[str] = set()  # templates that were tried in this process


def try_template(tokenizer: Any, where: str) -> None:
    """Render two plain messages in a forked process under limits of time and memory. A template that breaks off is left
    to those who render it (prompts.py), which say why."""
    template = str(tokenizer.chat_template or "")
    if not template or template in _passed:
        return
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # the child runs Jinja alone, whatever threads there are here
        child = os.fork()
    if child == 0:
        _render_and_leave(tokenizer)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL):
        trouble = f"does not end within {TRIAL_SECONDS} seconds"
    elif status != 0:
        trouble = f"asks for more than {TRIAL_BYTES >> 30} GiB of memory"
    else:
        _passed.add(template)
        return
    raise OperatorError(
        f"student.model: the chat template of {where} {trouble}; do not use this model's folder as it is."
    )


def _render_and_leave(tokenizer: Any) -> None:
    """In the child: nothing but Jinja, and no way out but _exit."""
    code = 1
    try:
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)
        with open("/proc/self/statm", encoding="ascii") as file:
            room = int(file.read().split()[0]) * resource.getpagesize() + TRIAL_BYTES
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (room if hard == resource.RLIM_INFINITY else min(room, hard), hard))
        resource.setrlimit(resource.RLIMIT_CPU, (TRIAL_SECONDS, TRIAL_SECONDS + 5))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for messages in TRIALS:
            tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        code = 0
    except MemoryError:
        code = 1
    except Exception:  # noqa: BLE001 - it broke off, so it ends
        code = 0
    finally:
        os._exit(code)

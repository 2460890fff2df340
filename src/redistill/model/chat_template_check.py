"""A chat template is a program out of a model's folder: it is tried once, where it can neither hang nor grow.

    try_template(tokenizer, "org/model")      OperatorError where it does not end, or asks for more memory than a text does

transformers renders templates in Jinja's sandbox, which keeps them from files and from Python's insides, but not from
`{% for i in range(99999) %}` in itself or from doubling a text forty times. What a template does only for some later
message is not seen here.
"""

from typing import Any

from redistill.errors import OperatorError
from redistill.safety.limits import trial

TRIAL_SECONDS = 10  # of CPU; a template renders in a millisecond
TRIAL_BYTES = 1 << 30
MESSAGES = ([{"role": "user", "content": "1+1="}], [{"role": "user", "content": "a \u00e9 {problem} \n" * 200}])
_passed: set[str] = set()  # templates that were tried in this process


def try_template(tokenizer: Any, where: str) -> None:
    """Render two plain messages under limits. A template that breaks off is left to those who render it (text/prompts.py),
    which say why."""
    template = str(tokenizer.chat_template or "")
    if not template or template in _passed:
        return

    def render() -> None:
        for messages in MESSAGES:
            tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    short_of = trial(render, seconds=TRIAL_SECONDS, memory_bytes=TRIAL_BYTES)
    if short_of is not None:
        wants = f"{TRIAL_SECONDS} seconds" if short_of == "time" else f"{TRIAL_BYTES >> 30} GiB of memory"
        raise OperatorError(
            f"student.model: the chat template of {where} needs more than {wants} for one short message; fix the template or use another model."
        )
    _passed.add(template)

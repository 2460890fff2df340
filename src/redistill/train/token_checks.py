"""What can be wrong between a recipe's text and the student's tokens: one function a trap, each a sentence or nothing.

    subject = Subject(tokenizer, config, prompt, chat, evaluate, rows=token_rows(...), wanted={...})
    for name, check in CHECKS.items(): print(name, check(subject) or "ok")

Comes in: a tokenizer, a config and a few rows made by the code that training uses. Goes out: sentences that say what is
wrong and what to write instead. `redistill doctor` asks all of them; `redistill run` refuses on those in RUN_CHECKS,
which need no data and harm the run itself. Chat templates run in transformers' sandbox and nowhere else.
"""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from redistill.errors import OperatorError
from redistill.model import loading
from redistill.records import Example
from redistill.text.prompts import rendered_chat
from redistill.train.rows import read_rows, write_rows

THINK = "<think>"
REASON = "TWOANDTWOMAKEFOUR"  # stands in the thinking of a made-up turn; a template that keeps thinking keeps it
ANSWER = "THEANSWERISFOUR"


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One completion as training holds it: prompt ids then completion ids. ids, learned: (seq,); learned says which
    tokens carry loss. asked: the ids that evaluation begins with, of the prompt and the prefilled text."""

    prompt: str
    completion: str
    ids: list[int]
    learned: list[bool]
    asked: list[int]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is examined. chat: a user's text -> the text of the prompt, None where the recipe wraps in no template.

    wanted: setting -> tokens that the recipe allows by it. original: the config without the recipe's edits.
    """

    tokenizer: PreTrainedTokenizerFast
    config: Any
    original: Any
    template: str
    chat: Callable[[str], str] | None
    prefill: str
    rows: Sequence[TokenRow]
    wanted: Mapping[str, int] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """The id of the token that ends a completion."""
        return int(self.tokenizer.eos_token_id)


def token_rows(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[tuple[str, str]], prefill: str = ""
) -> list[TokenRow]:
    """(prompt, completion) texts as rows, through the very files that a stage trains from; none is too long here."""
    examples = [Example("", str(i), prompt, completion) for i, (prompt, completion) in enumerate(texts)]
    with tempfile.TemporaryDirectory() as folder:
        write_rows(
            Path(folder),
            examples,
            encode_prompts=lambda batch: loading.encode_prompts(tokenizer, batch),
            encode_completions=lambda batch: loading.encode_completions(tokenizer, batch),
            max_tokens=1 << 40,
        )
        rows, _ = read_rows(Path(folder))
        asked = loading.encode_prompts(tokenizer, [prompt + prefill for prompt, _ in texts])
        found = []
        for place, name in enumerate(rows.ids):
            (ids, _), learned = rows.sequence(place), rows.completion_tokens(place)
            mask = [False] * (len(ids) - learned) + [True] * learned
            found.append(TokenRow(*texts[int(name)], ids, mask, asked[int(name)]))
    return found


# --- the traps, each with its cases in tests/tools/test_doctor.py ------------------------------------------------


def thinking_is_kept(subject: Subject) -> str | None:
    """Templates of R1's kind delete <think>...</think> from the assistant's turns."""
    if subject.chat is None:
        return None
    turn = f"{THINK}\n{REASON}\n</think>\n\n{ANSWER}"
    if REASON in _conversation(subject, turn):
        return None
    return (
        "the chat template deletes <think>...</think> from the assistant's turn: rows here keep it, since completions are "
        "written behind the prompt, but whatever renders conversations for this student loses its reasoning; edit "
        "chat_template so that it writes the whole turn, or set prompt.chat to false."
    )


def bos_once(subject: Subject) -> str | None:
    """Tokenizer and template each write the opening token."""
    bos = subject.tokenizer.bos_token_id
    if bos is None:
        return None
    opens = (subject.tokenizer("", add_special_tokens=True)["input_ids"] or [None])[0] == bos
    for row in subject.rows:
        pairs = zip(row.ids, row.ids[1:])
        if any(a == b == bos for a, b in pairs) or (opens and row.ids.count(bos) > 1):
            return (
                f"the opening token {_token(subject, bos)} stands in a row {row.ids.count(bos)} times, beginning "
                f"{_shown(subject, row.ids[:6])}; write it once: at the very start of the chat template, and in no "
                "prompt.template or trace."
            )
    return None


def tokens_are_known(subject: Subject) -> str | None:
    """An id beyond the embedding has no vector; training would crash on it."""
    size = int(getattr(subject.config, "vocab_size", None) or 1 << 60)
    largest = max((max(row.ids) for row in subject.rows), default=0)
    largest = max(largest, subject.end)
    if largest >= size:
        return (
            f"token {_token(subject, largest)} has number {largest}, but the model knows {size} tokens (vocab_size of "
            "config.json); the tokenizer is not this model's, or a token was added without a row in the embedding."
        )
    return None


def end_is_taught(subject: Subject) -> str | None:
    """The last token of every row ends the turn and carries loss, and it stands nowhere else in the completion."""
    end, pad = subject.end, subject.tokenizer.pad_token_id
    for row in subject.rows:
        if row.ids[-1] != end:
            return f"a row ends in {_token(subject, row.ids[-1])}, not in the end token {_token(subject, end)}: the student would never learn to stop."
        if not row.learned[-1]:
            why = " (it is the pad token too, and pad tokens are masked)" if pad == end else ""
            return f"the end token {_token(subject, end)} carries no loss{why}: the student would never learn to stop; name another in student.end_of_turn."
        places = [i for i, learned in zip(row.ids, row.learned, strict=True) if learned and i == end]
        if len(places) > 1:
            return (
                f"a trace holds the end token {_token(subject, end)} in its own text, so its row ends {len(places)} times; "
                "take it out of the traces, or name another in student.end_of_turn."
            )
    return None


def end_is_the_templates(subject: Subject) -> str | None:
    """The template ends a turn with one token and the tokenizer's eos token is another: absent where it is looked for."""
    if subject.chat is None:
        return None
    _, found, suffix = _conversation(subject, ANSWER).rpartition(ANSWER)
    if not found or not suffix.strip() or subject.tokenizer.eos_token in suffix:
        return None
    ids = subject.tokenizer(suffix, add_special_tokens=False)["input_ids"]
    special = [i for i in ids if i in subject.tokenizer.all_special_ids]
    names = subject.tokenizer.convert_ids_to_tokens(special or ids)
    return (
        f"the end token of the chat template is absent: it ends the assistant's turn with {suffix.strip()!r}, but rows "
        f"would end with {_token(subject, subject.end)}; set student.end_of_turn to {names[0]!r}."
    )


def prompt_is_a_prefix(subject: Subject) -> str | None:
    """Prompt and completion are encoded apart. Where the text as a whole has other tokens at the seam, a server or a
    library that encodes it whole sees another prompt than the student was taught."""
    for row in subject.rows:
        prompt = _prompt_ids(row)
        (whole,) = loading.encode_prompts(subject.tokenizer, [row.prompt + row.completion])
        if whole[: len(prompt)] == prompt:
            continue
        same = next(i for i, (a, b) in enumerate(zip([*whole, -1], [*prompt, -2])) if a != b)
        return (
            "the prompt's tokens are no prefix of the whole: apart it ends "
            f"{_shown(subject, prompt[max(0, same - 1) :])}, together with the completion {_shown(subject, whole[max(0, same - 1) : same + 2])}; "
            f"end prompt.template where a token ends{_better_ending(subject, row)}."
        )
    return None


def thinking_opens_once(subject: Subject) -> str | None:
    """The generation prompt of R1's templates ends in <think>; a trace or a prefill that opens it again makes two."""
    opened = next((row for row in subject.rows if row.prompt.rstrip().endswith(THINK)), None)
    if opened is None:
        return None
    if subject.prefill.lstrip().startswith(THINK):
        return "the chat template's generation prompt already ends in <think>, and evaluate.prefill opens it again; set evaluate.prefill to ''."
    if any(row.completion.lstrip().startswith(THINK) for row in subject.rows):
        return (
            "the chat template's generation prompt already ends in <think>, and traces open it again: rows would hold it "
            f"twice; write the turn yourself: prompt: {{chat: false, template: {_own_turn(subject)}}}."
        )
    return None


def asked_as_taught(subject: Subject) -> str | None:
    """What evaluation begins with (the prompt and the prefilled text) is how the rows of training begin."""
    if subject.chat is not None and (dated := _depends_on_the_day(subject)):
        return dated
    for row in subject.rows:
        if row.ids[: len(row.asked)] == row.asked:
            continue
        if not row.completion.startswith(subject.prefill):
            return (
                f"the evaluation prompt differs from the training prompt: evaluate.prefill is {subject.prefill!r}, but a trace "
                f"begins {row.completion[:24]!r}; leave prefill out, or make it the opening of every trace."
            )
        longer = row.completion[: len(subject.prefill) + 1]
        return (
            f"the evaluation prompt differs from the training prompt: with evaluate.prefill {subject.prefill!r} it ends "
            f"{_shown(subject, row.asked[-3:])}, where rows have {_shown(subject, row.ids[len(row.asked) - 3 : len(row.asked) + 1])}; "
            f"end it where a token ends, such as {longer!r}."
        )
    return None


def context_is_enough(subject: Subject) -> str | None:
    """What the recipe allows fits the positions that the model has; the sentence holds the edit to write."""
    context = loading.context_length(subject.config)
    setting, needed = max(subject.wanted.items(), key=lambda item: item[1], default=("", 0))
    if needed > context:
        edit = context_edit(subject.original, needed)
        what = f"student.config_edits: {_flow(edit)}" if edit else "shorter traces: this model's positions are learned"
        return f"{setting} is {needed:,} tokens, but the model's context is {context:,}; write {what}."
    return None


def rotations_are_trained(subject: Subject) -> str | None:
    """A longer context without a larger rope_theta asks for rotations that the weights have never seen."""
    context, before = loading.context_length(subject.config), loading.context_length(subject.original)
    if context > before and _rope(subject.config) == _rope(subject.original) and _rope(subject.config):
        return (
            f"the context is edited from {before:,} to {context:,} and rope_theta is not, so the rotations beyond were never "
            f"trained; write student.config_edits: {_flow(context_edit(subject.original, context))}."
        )
    return None


CHECKS: dict[str, Callable[[Subject], str | None]] = {
    "thinking": thinking_is_kept,
    "bos": bos_once,
    "vocabulary": tokens_are_known,
    "end": end_is_taught,
    "turn": end_is_the_templates,
    "prefix": prompt_is_a_prefix,
    "opening": thinking_opens_once,
    "evaluation": asked_as_taught,
    "context": context_is_enough,
    "rope": rotations_are_trained,
}
RUN_CHECKS = ("bos", "vocabulary", "end", "opening", "context")  # harm the run itself, and need no row of the data


def refuse(subject: Subject, names: Sequence[str] = RUN_CHECKS) -> None:
    """OperatorError with the sentence of the first of these checks that fails."""
    for name in names:
        if sentence := CHECKS[name](subject):
            raise OperatorError(f"student: {sentence} `redistill doctor` shows the rows.")


# --- edits of the context -----------------------------------------------------------------------------------------

# (model_type, positions, rope_theta) -> what others have trained with. Qwen2.5-Math: open-r1/OpenR1-Qwen-7B and the REDI
# paper's students (Xu et al. 2025); a plain text says 4,096 nowhere, and long traces turn to noise beyond it.
KNOWN_EDITS: dict[tuple[str, int, float], dict[str, int]] = {
    ("qwen2", 4096, 10_000.0): {"max_position_embeddings": 32768, "rope_theta": 300_000},
}


def context_edit(config: Any, needed: int) -> dict[str, int]:
    """The `student.config_edits` that make room for `needed` tokens; empty where the model's positions are learned.

    Where nobody's choice is known, rope_theta grows as theta * s^(d / (d - 2)) for a context s times as long and heads of
    d dimensions ("NTK-aware" scaling; Peng et al. 2023, arXiv 2309.00071, Eq. 16), to two digits.
    """
    theta, context = _rope(config), loading.context_length(config)
    if theta is None:
        return {}
    known = KNOWN_EDITS.get((config.model_type, context, theta), {})
    if needed <= known.get("max_position_embeddings", 0):
        return known
    positions = -(-needed // 1024) * 1024
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    scaled = theta * (positions / context) ** (size / max(1, size - 2))
    return {"max_position_embeddings": positions, "rope_theta": int(float(f"{scaled:.1e}"))}


def _rope(config: Any) -> float | None:
    """rope_theta of plain RoPE; None where positions are learned, or scaled by a rule of the model's own."""
    rope = getattr(config, "rope_parameters", None)
    if not isinstance(rope, dict) or rope.get("rope_type", "default") != "default" or "rope_theta" not in rope:
        return None
    return float(rope["rope_theta"])


# --- small helpers ------------------------------------------------------------------------------------------------


def _flow(edit: Mapping[str, int]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in edit.items()) + "}"


def _token(subject: Subject, number: int) -> str:
    found = str(subject.tokenizer.convert_ids_to_tokens(number))
    return found if found.isprintable() else repr(found)


def _shown(subject: Subject, ids: Sequence[int]) -> str:
    """Tokens one by one, so that a seam can be seen: ['\\n\\n', 'To']."""
    return str([subject.tokenizer.decode([i], clean_up_tokenization_spaces=False) for i in ids])


def _prompt_ids(row: TokenRow) -> list[int]:
    return row.ids[: len(row.ids) - sum(row.learned)]


def _conversation(subject: Subject, turn: str) -> str:
    """One question and the assistant's whole turn, as the chat template writes them."""
    messages = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": turn}]
    return rendered_chat(subject.tokenizer, messages, add_generation_prompt=False)


def _own_turn(subject: Subject) -> str:
    """The chat template around a problem, without the opened thinking, as text for `prompt.template`."""
    assert subject.chat is not None
    return json.dumps(subject.chat(subject.template).rstrip().removesuffix(THINK), ensure_ascii=False)


def _better_ending(subject: Subject, row: TokenRow) -> str:
    """A shorter white space at the prompt's end that would not be torn, where there is one."""
    trimmed = row.prompt.rstrip()
    for ending in ("\n", ""):
        if trimmed + ending == row.prompt or subject.chat is not None:
            continue
        prompt, whole = loading.encode_prompts(subject.tokenizer, [trimmed + ending, trimmed + ending + row.completion])
        if whole[: len(prompt)] == prompt:
            return f", for example in {ending!r} where it ends in {row.prompt[len(trimmed) :]!r}"
    return ""


def _depends_on_the_day(subject: Subject) -> str | None:
    """Templates of Llama 3's kind write today's date: a student is then asked otherwise tomorrow."""
    messages = [{"role": "user", "content": "2+2?"}]
    try:  # the clock taken away: a template that was rendered a moment ago now breaks off where it asks for the day
        rendered_chat(subject.tokenizer, messages, add_generation_prompt=True, strftime_now="")
        return None
    except OperatorError:
        pass
    return (
        "the evaluation prompt differs from the training prompt: the chat template writes today's date into every prompt; put "
        "a fixed date in its place, or set prompt.chat to false."
    )

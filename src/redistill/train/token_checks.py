"""What can be wrong between a recipe's text and the student's tokens: one function a trap, each a sentence or nothing.

    subject = Subject(tokenizer, config, template, chat, prefill, rows=token_rows(...), wanted={...}, ...)
    for name, check in CHECKS.items(): print(name, check(subject) or "ok")

Comes in: a tokenizer, a config and a few rows made by the code that training uses. Goes out: sentences that say what is
wrong and what to write instead. `redistill doctor` asks all of them; `redistill run` refuses on those in RUN_CHECKS,
which need no data and harm the run itself. `notes` says what is not a mistake and good to know. Chat templates run in
transformers' sandbox and nowhere else.
"""

import itertools
import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerFast

from redistill.errors import OperatorError
from redistill.model import loading
from redistill.records import Example
from redistill.text.prompts import rendered_chat
from redistill.train.rows import read_rows, write_rows

THINK = "<think>"
ASKED = ("WHATISTWO", "ANDTWOMORE")  # the two ends of a made-up question; a template that keeps it keeps both
QUESTION = "\n\n".join(ASKED)
REASON = "TWOANDTWOMAKEFOUR"  # stands in the thinking of a made-up turn; a template that keeps thinking keeps it
ANSWER = "THEANSWERISFOUR"
THOUGHT = f"{THINK}\n{REASON}\n</think>\n\n{ANSWER}"
TRAILING = "  \n"  # white space behind a question


class Text(NamedTuple):
    """A row as text: the prompt of training, the completion behind it, and the prompt of evaluation for the same problem."""

    prompt: str
    completion: str
    question: str


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One completion as training holds it: prompt ids then completion ids. ids, learned: (seq,); learned says which
    tokens carry loss. question: the prompt of evaluation; asked: the ids it begins with, the prefilled text included."""

    prompt: str
    completion: str
    ids: list[int]
    learned: list[bool]
    asked: list[int]
    question: str


@dataclass(frozen=True, slots=True)
class Subject:
    """What is examined. template: of training. chat, asked_chat: a user's text -> the text of the prompt in training and in
    evaluation, None where the recipe wraps in no template.

    wanted: setting -> tokens that the recipe allows by it. original: the config without the recipe's edits.
    """

    tokenizer: PreTrainedTokenizerFast
    config: Any
    original: Any
    template: str
    chat: Callable[[str], str] | None
    asked_chat: Callable[[str], str] | None
    prefill: str
    rows: Sequence[TokenRow]
    wanted: Mapping[str, int] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """The id of the token that ends a completion."""
        return int(self.tokenizer.eos_token_id)

    @property
    def any_chat(self) -> Callable[[str], str] | None:
        """The chat template, where any of the prompts stands in it."""
        return self.chat or self.asked_chat


def token_rows(tokenizer: PreTrainedTokenizerFast, texts: Sequence[Text], prefill: str = "") -> list[TokenRow]:
    """Texts as rows, through the very files that a stage trains from; none is too long here."""
    examples = [Example("", str(i), text.prompt, text.completion) for i, text in enumerate(texts)]
    with tempfile.TemporaryDirectory() as folder:
        write_rows(
            Path(folder),
            examples,
            encode_prompts=lambda batch: loading.encode_prompts(tokenizer, batch),
            encode_completions=lambda batch: loading.encode_completions(tokenizer, batch),
            max_tokens=1 << 40,
        )
        rows, _ = read_rows(Path(folder))
        asked = loading.encode_prompts(tokenizer, [text.question + prefill for text in texts])
        checked = []
        for place, name in enumerate(rows.ids):
            (ids, _), learned = rows.sequence(place), rows.completion_tokens(place)
            mask = [False] * (len(ids) - learned) + [True] * learned
            text = texts[int(name)]
            checked.append(TokenRow(text.prompt, text.completion, ids, mask, asked[int(name)], text.question))
    return checked


# --- the traps, each with its cases in tests/tools/test_doctor.py ------------------------------------------------


def question_is_kept(subject: Subject) -> str | None:
    """A template that passes the user's message by, or keeps a part of it, asks every problem alike."""
    if subject.any_chat is None:
        return None
    prompt = subject.any_chat(QUESTION)
    if all(end in prompt for end in ASKED):
        return None
    what = "a part of the question" if any(end in prompt for end in ASKED) else "the question"
    return (
        f"the chat template drops {what}: a user's message of two paragraphs is rendered as {_short(prompt)}; fix "
        f"chat_template so that it renders the whole message, or set prompt.chat to false."
    )


def thinking_is_kept(subject: Subject) -> str | None:
    """Templates of R1's kind delete <think>...</think> from the assistant's turns; one may drop the turn altogether."""
    if subject.any_chat is None:
        return None
    whole = _conversation(subject, THOUGHT)
    if REASON in whole and ANSWER in whole:
        return None
    what = "deletes <think>...</think> from" if ANSWER in whole else "drops the answer of"
    return (
        f"the chat template {what} the assistant's turn: rows here keep it (completions are appended to the prompt), "
        f"but rendering conversations with this template loses the reasoning; edit chat_template so that it renders "
        f"the whole turn, or set prompt.chat to false."
    )


def turn_is_opened(subject: Subject) -> str | None:
    """The prompt must end where the template would begin an assistant's text: some know no add_generation_prompt."""
    begins, ends = _openings(subject) or ("", "")
    if _without_thinking(ends) or not _without_thinking(begins):
        return None
    return (
        f"the chat template has no generation prompt: it opens an assistant's turn with {begins!r}, but not at the "
        f"end of a prompt (add_generation_prompt), so the student learns to answer inside the user's turn; end chat_template "
        f"with {{% if add_generation_prompt %}}{begins}{{% endif %}}, or set prompt.chat to false."
    )


def completion_begins_itself(subject: Subject) -> str | None:
    """SentencePiece puts a space before every text (its dummy prefix), so before a completion that is encoded apart."""
    for row in subject.rows:
        prompt = _prompt_ids(row) or [subject.end]
        before, whole = (
            str(subject.tokenizer.decode(ids, clean_up_tokenization_spaces=False))
            for ids in (prompt, [*prompt, *row.ids[len(_prompt_ids(row)) :]])
        )
        seam = whole[len(before) :]
        if (
            whole.startswith(before)
            and seam[:1] == " "
            and not row.completion[:1].isspace()
            and seam[1:2] == row.completion[:1]
        ):
            first = row.ids[len(_prompt_ids(row))]
            return (
                f"the tokenizer adds a space before every completion (SentencePiece's dummy prefix): a trace begins "
                f"{row.completion[:12]!r} and its row {_token(subject, first)!r}, which stands nowhere in the text; in "
                'tokenizer.json set "prepend_scheme" of Metaspace to "never" and take a Prepend normalizer out, or '
                "add_prefix_space to false."
            )
    return None


def bos_once(subject: Subject) -> str | None:
    """Tokenizer and template each write the opening token."""
    bos = subject.tokenizer.bos_token_id
    if bos is None:
        return None
    opens = (subject.tokenizer("", add_special_tokens=True)["input_ids"] or [None])[0] == bos
    for place, ids in [("a training row", row.ids) for row in subject.rows] + [
        ("an evaluation prompt", r.asked) for r in subject.rows
    ]:
        pairs = itertools.pairwise(ids)
        if any(a == b == bos for a, b in pairs) or (opens and ids.count(bos) > 1):
            return (
                f"the opening token {_token(subject, bos)} occurs {ids.count(bos)} times in {place}, beginning "
                f"{_shown(subject, ids[:6])}; write it only once, at the start of the chat template, not in prompt.template or in traces."
            )
    return None


def tokens_are_known(subject: Subject) -> str | None:
    """An id beyond the embedding has no vector; training would crash on it."""
    size = int(getattr(subject.config, "vocab_size", None) or 1 << 60)
    largest = max((max(*row.ids, *row.asked) for row in subject.rows), default=0)
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
    """The template ends a turn with one token and rows with another: its own never carries loss, and is never written."""
    if subject.any_chat is None:
        return None
    _, said, suffix = _conversation(subject, ANSWER).rpartition(ANSWER)
    if not said or not suffix.strip() or suffix.lstrip().startswith(str(subject.tokenizer.eos_token)):
        return None
    marker = suffix.split()[0]
    ids = subject.tokenizer(marker, add_special_tokens=False)["input_ids"]
    names = subject.tokenizer.convert_ids_to_tokens(ids[:1])
    absent = (
        f"the chat template's end token is not used: it ends the assistant's turn with {suffix.strip()!r}, but rows "
        f"would end with {_token(subject, subject.end)}"
    )
    if len(ids) == 1 or ids[0] in subject.tokenizer.all_special_ids:
        return f"{absent}; set student.end_of_turn to {names[0]!r}."
    return (
        f"{absent}, and {marker!r} is not a token but a text of {len(ids)}, so no row teaches it; end the turn in chat_template with "
        f"{_token(subject, subject.end)}, or add {marker!r} to the tokenizer and name it in student.end_of_turn."
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
            "the prompt's tokens are not a prefix of the whole: apart it ends "
            f"{_shown(subject, prompt[max(0, same - 1) :])}, together with the completion {_shown(subject, whole[max(0, same - 1) : same + 2])}; "
            f"end prompt.template at a token boundary{_better_ending(subject, row)}."
        )
    return None


def thinking_opens_once(subject: Subject) -> str | None:
    """The generation prompt of R1's templates ends in <think>; a trace or a prefill that opens it again makes two."""
    if subject.prefill.lstrip().startswith(THINK) and any(
        row.question.rstrip().endswith(THINK) for row in subject.rows
    ):
        return "the chat template's generation prompt already ends in <think>, and evaluate.prefill opens it again; set evaluate.prefill to ''."
    opened = any(row.prompt.rstrip().endswith(THINK) for row in subject.rows)
    if opened and any(row.completion.lstrip().startswith(THINK) for row in subject.rows):
        return (
            "the chat template's generation prompt already ends in <think>, and traces open it again: rows would hold it "
            f"twice; write the turn yourself: prompt: {{chat: false, template: {_own_turn(subject)}}}."
        )
    return None


def asked_as_taught(subject: Subject) -> str | None:
    """What evaluation begins with (its prompt and the prefilled text) is how the rows of training begin; where a recipe names
    two prompts, the completions begin behind both in the same tokens."""
    if subject.any_chat is not None and (dated := _depends_on_the_day(subject)):
        return dated
    if (subject.chat is None) != (subject.asked_chat is None):
        taught, asked = ("outside of", "in") if subject.chat is None else ("in", "outside of")
        return (
            f"the evaluation prompt differs from the training prompt: rows stand {taught} the chat template and evaluation asks "
            f"{asked} it, where the student was never taught; give prompt.train.chat and prompt.evaluate.chat one value."
        )
    questions = loading.encode_prompts(subject.tokenizer, [row.question for row in subject.rows])
    for row, question in zip(subject.rows, questions, strict=True):
        taught_ids = [*question, *row.ids[len(_prompt_ids(row)) :]]
        if taught_ids[: len(row.asked)] == row.asked:
            continue
        if not row.completion.startswith(subject.prefill):
            return (
                f"the evaluation prompt differs from the training prompt: evaluate.prefill is {subject.prefill!r}, but a trace "
                f"begins {row.completion[:24]!r}; leave prefill out, or let every trace begin with it."
            )
        longer = row.completion[: len(subject.prefill) + 1]
        return (
            f"the evaluation prompt differs from the training prompt: with evaluate.prefill {subject.prefill!r} it ends "
            f"{_shown(subject, row.asked[-3:])}, where rows have "
            f"{_shown(subject, taught_ids[len(row.asked) - 3 : len(row.asked) + 1])}; end it at a token boundary, such as {longer!r}."
        )
    return None


def context_is_enough(subject: Subject) -> str | None:
    """What the recipe allows fits the positions that the model has; the sentence holds the edit to write."""
    context = loading.context_length(subject.config)
    setting, needed = max(subject.wanted.items(), key=lambda item: item[1], default=("", 0))
    if needed > context:
        edit = context_edit(subject.original, needed)
        what = f"student.config_edits: {_flow(edit)}" if edit else "shorter traces: this model's positions are learned"
        return f"{setting} is {needed:,} tokens, but the model's context is {context:,}; write {'less, or ' if edit else ''}{what}."
    return None


def rotations_are_trained(subject: Subject) -> str | None:
    """A longer context without a larger rope_theta asks for rotations that the weights have never seen."""
    context, before = loading.context_length(subject.config), loading.context_length(subject.original)
    if context > before and _rope(subject.config) == _rope(subject.original) and _rope(subject.config):
        return (
            f"the context is edited from {before:,} to {context:,} but rope_theta is not, so the longer positions "
            f"were never trained; set student.config_edits: {_flow(context_edit(subject.original, context))}."
        )
    return None


CHECKS: dict[str, Callable[[Subject], str | None]] = {
    "question": question_is_kept,
    "thinking": thinking_is_kept,
    "header": turn_is_opened,
    "dummy": completion_begins_itself,
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
RUN_CHECKS = (
    "question",
    "bos",
    "vocabulary",
    "end",
    "opening",
    "context",
)  # harm the run itself, and need no row of the data


def refuse(subject: Subject, names: Sequence[str] = RUN_CHECKS) -> None:
    """OperatorError with the sentence of the first of these checks that fails."""
    for name in names:
        if sentence := CHECKS[name](subject):
            raise OperatorError(f"student: {sentence} `redistill doctor` shows the rows.")


# --- what is not a mistake, and good to know ---------------------------------------------------------------------------


def notes(subject: Subject) -> list[str]:
    """What the tokenizer does to texts, and the chat template to every prompt or to turns that rows here do not have."""
    find: tuple[Callable[[Subject], str | None], ...] = (_lost_text,)
    if subject.any_chat is not None:
        find = (*find, _past_thinking, _other_opening, _own_system_message, _trimmed)
    return [note for one in find if (note := one(subject))]


def _lost_text(subject: Subject) -> str | None:
    """Tokenizers may fold characters, drop white space or know some not at all: what they read back is what is taught."""
    for row in subject.rows:
        ids = row.ids[len(_prompt_ids(row)) : -1]
        back = str(subject.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
        if back != row.completion and back != row.completion.lstrip(" "):
            place = next(i for i, (a, b) in enumerate(zip(f"{back}\0", f"{row.completion}\1")) if a != b)
            one, other = (text[max(0, place - 8) : place + 12] for text in (row.completion, back))
            return f"the tokenizer does not keep every text: of a trace with {one!r} its tokens read {other!r}."
    return None


def _past_thinking(subject: Subject) -> str | None:
    """Templates of Qwen3's kind keep the thinking of the last turn and delete it from the turns before."""
    if REASON not in _conversation(subject, THOUGHT):
        return None  # the check `thinking` says it
    turns = [("user", QUESTION), ("assistant", THOUGHT), ("user", QUESTION)]
    try:
        whole = rendered_chat(
            subject.tokenizer, [{"role": role, "content": text} for role, text in turns], add_generation_prompt=True
        )
    except OperatorError:
        return "the chat template stops at a second question; rows here have one."
    if REASON in whole:
        return None
    return "the chat template deletes <think>...</think> from the turns before the last question; rows here have one turn and keep it."


def _other_opening(subject: Subject) -> str | None:
    begins, ends = _openings(subject) or ("", "")
    turn, prompt = _without_thinking(begins), _without_thinking(ends)
    if not prompt or turn.startswith(prompt) or prompt.startswith(turn):  # channels and tools may follow the role
        return None
    return f"the chat template opens an assistant's turn with {begins!r}, but a prompt ends in {ends!r}; rows have the latter."


def _own_system_message(subject: Subject) -> str | None:
    """The message that a template writes where none is given, found by the frame it puts around another one."""
    assert subject.any_chat is not None
    messages = [{"role": "system", "content": REASON}, {"role": "user", "content": QUESTION}]
    try:
        framed = rendered_chat(subject.tokenizer, messages, add_generation_prompt=True).partition(QUESTION)[0]
    except OperatorError:
        return None  # no system role (Gemma)
    before, reason, after = framed.partition(REASON)
    opening = subject.any_chat(QUESTION).partition(QUESTION)[0]
    message = opening.removeprefix(before).removesuffix(after)
    if not reason or f"{before}{message}{after}" != opening or not message.strip():
        return None
    return f"the chat template adds its own system message to every prompt, in training and in evaluation: {_short(message)}."


def _trimmed(subject: Subject) -> str | None:
    assert subject.any_chat is not None
    prompt = subject.any_chat(QUESTION + TRAILING)
    if QUESTION not in prompt or QUESTION + TRAILING in prompt:
        return None
    return "the chat template trims whitespace at the end of a message, so that of prompt.template is lost."


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
    piece = str(subject.tokenizer.convert_ids_to_tokens(number))
    return piece if piece.isprintable() else repr(piece)


def _short(text: str) -> str:
    return repr(text if len(text) <= 160 else f"{text[:150]} ...")


def _without_thinking(text: str) -> str:
    """A turn's opening without tags of thinking and white space: some templates write an empty thought into it."""
    return "".join(re.sub(r"</?think>", "", text).split())


def _shown(subject: Subject, ids: Sequence[int]) -> str:
    """Tokens one by one, so that a seam can be seen: ['\\n\\n', 'To']."""
    return str([subject.tokenizer.decode([i], clean_up_tokenization_spaces=False) for i in ids])


def _prompt_ids(row: TokenRow) -> list[int]:
    return row.ids[: len(row.ids) - sum(row.learned)]


def _conversation(subject: Subject, turn: str) -> str:
    """One question and the assistant's whole turn, as the chat template writes them."""
    messages = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": turn}]
    return rendered_chat(subject.tokenizer, messages, add_generation_prompt=False)


def _openings(subject: Subject) -> tuple[str, str] | None:
    """(how the chat template opens an assistant's turn, how a prompt ends), both behind the user's turn; None where there is no
    template, or a prompt is not a beginning of the conversation."""
    if subject.any_chat is None:
        return None
    messages = [{"role": "user", "content": QUESTION}]
    bare, prompt = (rendered_chat(subject.tokenizer, messages, add_generation_prompt=on) for on in (False, True))
    before, said, _ = _conversation(subject, ANSWER).rpartition(ANSWER)
    if not said or not before.startswith(bare) or not prompt.startswith(bare):
        return None
    return before[len(bare) :], prompt[len(bare) :]


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
        "the evaluation prompt differs from the training prompt: the chat template writes today's date into every "
        "prompt; replace it by a fixed date, or set prompt.chat to false."
    )

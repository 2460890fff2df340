"""Who says how likely a round's sampled tokens are, for the advantage `teacher`: log pi_T - log pi_S of every token.

    LoadedTeacher(load)                                another model in this process
    AskedTeacher(Server("http://.../v1"), "big")       a server with log-probs, asked with the sampled token ids
    TeachersBySource({"gsm8k": ..., "math": ...})      one of several, by the source of the row's problem
    SelfTeacher(contexts, ...)                         the student itself, which reads the problem's right trace before it

Each is opened once for a stage and then asked once for every round, at the round's first step; what it said is stored beside
the round. Rows are asked with the very ids that were sampled, so a teacher must have the student's vocabulary.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from torch import nn

from redistill.errors import OperatorError
from redistill.io.client import Ask, Kept, Reply, Server, ask
from redistill.model import loading
from redistill.model.logps import TokenSequence, images_of
from redistill.records import Problem
from redistill.train.ranks import agreed, ranks_of
from redistill.train.rollouts import Round
from redistill.train.rows import Rows
from redistill.train.step import find_token_logps

if TYPE_CHECKING:
    from redistill.train.trainer import Trainer

Sequences = Sequence[tuple[list[int], int]]


@dataclass(frozen=True, slots=True)
class Compared:
    """A model that does not learn, whose log-probs are wanted on a round's rows: the reference or the teacher."""

    policy: nn.Module
    tokens_per_micro_batch: int

    def token_logps(self, sequences: Sequences, trainer: "Trainer") -> list[np.ndarray]:
        """(completion tokens,) fp64 of each sequence."""
        ranks = ranks_of(trainer.accelerator, self.policy)
        with trainer.accelerator.autocast():
            logps = find_token_logps(
                self.policy,
                sequences,
                tokens_per_micro_batch=self.tokens_per_micro_batch,
                device=trainer.accelerator.device,
                ranks=ranks,
            )
        ends = np.cumsum([len(ids) - max(prompt, 1) for ids, prompt in sequences])[:-1]
        return np.split(np.asarray(logps.numpy()), ends)


def student_now(trainer: "Trainer") -> Compared:
    """The student as it is, for its own rows."""
    return Compared(trainer.policy, trainer.settings.tokens_per_micro_batch)


@dataclass(frozen=True, slots=True)
class Asked:
    """A round's rows, as a teacher is asked for them: their sequences, what is known of each, and who is training."""

    sequences: Sequences
    problems: Sequence[Problem]
    trace_ids: Sequence[str]
    behaviour: Sequence[np.ndarray]  # log-probs of the student that sampled them
    drawn: Round
    trainer: "Trainer"
    journal: Path | None = None  # where a server's replies are kept until the round has all of them

    def only(self, places: Sequence[int]) -> "Asked":
        """The same of some of the rows."""
        return dataclasses.replace(
            self,
            sequences=[self.sequences[place] for place in places],
            problems=[self.problems[place] for place in places],
            trace_ids=[self.trace_ids[place] for place in places],
            behaviour=[self.behaviour[place] for place in places],
        )


def asked_for(
    rows: Rows, drawn: Round, behaviour: np.ndarray, trainer: "Trainer", journal: Path | None = None
) -> Asked:
    """What a teacher is asked about the rows of a round. behaviour: (completion tokens of all rows,)."""
    problems = {trace.id: problem for problem, trace in drawn.answers}
    ends = rows.completion_starts()[1:-1]
    sequences = [rows.sequence(number) for number in range(len(rows.prompt_tokens))]
    return Asked(
        sequences, [problems[id] for id in rows.ids], rows.ids, np.split(behaviour, ends), drawn, trainer, journal
    )


class Teacher(Protocol):
    """An open teacher."""

    def token_logps(self, asked: Asked) -> list[np.ndarray]:
        """(completion tokens,) fp64 of each row. Every rank calls it and is given the same."""
        ...


@dataclass(frozen=True, slots=True)
class Opening:
    """What a teacher is opened with: where mistakes are said to be, the student's tokenizer, and what puts a loaded model on the
    device."""

    where: str  # "train.distil.rollouts.teacher"
    tokenizer: Any
    compared: Callable[[Callable[[], Any]], Compared]


class TeacherSpec(Protocol):
    """A teacher that a recipe names, not open yet."""

    def open(self, opening: Opening) -> Teacher:
        """Load it, or make ready to ask it. OperatorError where it does not fit the student."""
        ...


# --- another model ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LoadedTeacher:
    """A model in this process. load: gives model and tokenizer."""

    load: Callable[[], Any]

    def open(self, opening: Opening) -> Teacher:
        return _OpenModel(opening.compared(self.load))


@dataclass(frozen=True, slots=True)
class _OpenModel:
    compared: Compared

    def token_logps(self, asked: Asked) -> list[np.ndarray]:
        return self.compared.token_logps(asked.sequences, asked.trainer)


# --- several, by source -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TeachersBySource:
    """One teacher for each source of problems."""

    teachers: Mapping[str, TeacherSpec]

    def open(self, opening: Opening) -> Teacher:
        opened = {
            source: spec.open(dataclasses.replace(opening, where=f"{opening.where}.by_source.{source}"))
            for source, spec in self.teachers.items()
        }
        return _OpenBySource(opened)


@dataclass(frozen=True, slots=True)
class _OpenBySource:
    teachers: Mapping[str, Teacher]

    def token_logps(self, asked: Asked) -> list[np.ndarray]:
        answers: list[Any] = [None] * len(asked.sequences)
        for source, teacher in self.teachers.items():
            places = [place for place, problem in enumerate(asked.problems) if problem.source == source]
            if places:  # the same on every rank
                for place, logps in zip(places, teacher.token_logps(asked.only(places)), strict=True):
                    answers[place] = logps
        return answers


# --- the student itself, with more in its prompt ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SelfTeacher:
    """The student, which is shown a context before it: what it would have said, had it known.

    contexts: (problem, id of the row's trace, the round) -> the context, "" where there is none. render: (problem, context)
    -> the prompt. load: the model that the stage started from; None: the student as it is when it samples the round, and then
    a row without a context has advantages of exactly 0. limit: tokens of the longest sequence; a context that does not fit is
    left out. Source: self-distillation from privileged context, SDPO, arXiv 2601.20802.
    """

    contexts: Callable[[Problem, str, Round], str]
    render: Callable[[Problem, str], str]
    limit: int
    load: Callable[[], Any] | None = None

    def open(self, opening: Opening) -> Teacher:
        return _OpenSelf(self, opening.tokenizer, None if self.load is None else opening.compared(self.load))


@dataclass(frozen=True, slots=True)
class _OpenSelf:
    spec: SelfTeacher
    tokenizer: Any
    compared: Compared | None

    def sequences(self, asked: Asked) -> list[TokenSequence | None]:
        """Each row's completion after the prompt with its context; None for a row without one, or where it does not fit."""
        contexts = [
            self.spec.contexts(problem, id, asked.drawn)
            for problem, id in zip(asked.problems, asked.trace_ids, strict=True)
        ]
        prompts = [self.spec.render(p, c) if c else "" for p, c in zip(asked.problems, contexts, strict=True)]
        encoded = loading.encode_prompts(self.tokenizer, prompts)
        built: list[TokenSequence | None] = []
        for sequence, context, shown in zip(asked.sequences, contexts, encoded, strict=True):
            ids, prompt = sequence
            fits = context and len(shown) + len(ids) - prompt <= self.spec.limit
            built.append(TokenSequence([*shown, *ids[prompt:]], len(shown), images_of(sequence)) if fits else None)
        return built

    def token_logps(self, asked: Asked) -> list[np.ndarray]:
        shown = self.sequences(asked)
        training = asked.trainer.policy.training
        policy = self.compared or dataclasses.replace(student_now(asked.trainer), policy=asked.trainer.policy.eval())
        if self.compared is None:  # without a context it is the student that sampled, to the last bit
            places = [place for place, sequence in enumerate(shown) if sequence is not None]
            values = list(asked.behaviour)
        else:
            places = list(range(len(shown)))
            values = [np.zeros(0)] * len(shown)
        if places:
            wanted = [shown[place] or asked.sequences[place] for place in places]
            for place, logps in zip(places, policy.token_logps(wanted, asked.trainer), strict=True):
                values[place] = logps
        asked.trainer.policy.train(training)
        return values


# --- a server ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AskedTeacher:
    """A server with log-probs, asked for one token after the sampled ids.

    reads: `prompt-logprobs`, the field of that name with which vLLM returns the prompt's log-probs by token id; or `echo`, where
    the prompt is said back with its tokens and log-probs (OpenAI's older completions; SGLang; llama.cpp ignores `echo`).
    """

    server: Server
    model: str
    reads: Literal["prompt-logprobs", "echo"] = "prompt-logprobs"

    def open(self, opening: Opening) -> Teacher:
        return _OpenServer(self, opening.tokenizer, opening.where)


@dataclass(frozen=True, slots=True)
class _OpenServer:
    spec: AskedTeacher
    tokenizer: Any
    where: str

    def token_logps(self, asked: Asked) -> list[np.ndarray]:
        accelerator = asked.trainer.accelerator
        answers: list[np.ndarray] | str = []
        if accelerator.is_main_process:
            try:
                answers = self._ask(asked)
            except OperatorError as error:  # said on every rank: one that waits for the others would wait for ever
                answers = str(error)
        answers = agreed(accelerator, answers)
        if isinstance(answers, str):
            raise OperatorError(answers)
        return answers

    def _ask(self, asked: Asked) -> list[np.ndarray]:
        wanted = {"prompt_logprobs": 1} if self.spec.reads == "prompt-logprobs" else {"echo": True, "logprobs": 1}
        fields = {"model": self.spec.model, "max_tokens": 1, "temperature": 0.0, **wanted}
        asks = [Ask("completions", {**fields, "prompt": ids}) for ids, _ in asked.sequences]
        with Kept(asked.journal) as kept:
            replies = ask(self.spec.server, asks, kept=kept, read=self.read)
        # of a row that the server refuses (a prompt too long for it, a filter) nobody can say anything: its advantages are 0
        return [
            own if reply.refused else np.asarray(reply.logprobs[max(prompt, 1) :], dtype=np.float64)
            for reply, own, (_, prompt) in zip(replies, asked.behaviour, asked.sequences, strict=True)
        ]

    def read(self, asked: Ask, body: Any) -> Reply:
        """The log-prob of every token that was sent, 0 for the first, which nothing predicts. OperatorError where there are none,
        or the server's tokens are not ours."""
        ids, choice = asked.body["prompt"], body["choices"][0]
        said = self._by_id(ids, choice) if self.spec.reads == "prompt-logprobs" else self._by_text(ids, choice)
        for place, (id, (text, logprob)) in enumerate(zip(ids, said, strict=True)):
            if text is not None and not self._alike(id, text):
                raise self._another(f"token {id} is {text!r} there and {self._text(id)!r} here")
            if logprob is None and place:
                raise self._none(f"the reply omits that of token {place}")
            if place and not math.isfinite(logprob or 0.0):
                raise self._none(f"that of token {place} is {logprob}, no number")
        return Reply("", None, len(ids), 0, logprobs=tuple(float(logprob or 0.0) for _, logprob in said))

    def _by_id(self, ids: Sequence[int], choice: Mapping[str, Any]) -> list[tuple[str | None, float | None]]:
        """(text, log-prob) of each token, from vLLM's `prompt_logprobs`: [null, {"123": {"logprob": ..., "decoded_token": ...}}]."""
        entries = choice.get("prompt_logprobs")
        if not entries:
            raise self._none("the reply has no `prompt_logprobs`; try `reads: echo`, or a server such as vLLM")
        if len(entries) != len(ids):
            raise self._another(f"it returns {len(entries)} tokens for {len(ids)} ids")
        logps: list[tuple[str | None, float | None]] = []
        for id, entry in zip(ids, entries, strict=True):
            if entry and str(id) not in entry:
                raise self._another(f"it has nothing for token {id}")
            own = (entry or {}).get(str(id), {})
            logps.append((own.get("decoded_token"), own.get("logprob")))
        return logps

    def _by_text(self, ids: Sequence[int], choice: Mapping[str, Any]) -> list[tuple[str | None, float | None]]:
        """The same from the `tokens` and `token_logprobs` of a prompt that was said back; the token sampled after it is last."""
        given = choice.get("logprobs") or {}
        values, texts = given.get("token_logprobs"), given.get("tokens")
        if not values:
            raise self._none("the reply has no `logprobs`; try `reads: prompt-logprobs`, or a server such as vLLM")
        if not len(ids) <= len(values) <= len(ids) + 1:
            raise self._another(f"it returns {len(values)} tokens for {len(ids)} ids and the next one")
        return list(zip((texts or [None] * len(values))[: len(ids)], values, strict=False))

    def _text(self, id: int) -> str:
        return str(self.tokenizer.decode([id]))

    def _alike(self, id: int, text: str) -> bool:
        """True where a token's text there may be ours: marks of spaces and pieces of characters are written in many ways."""
        forms = (self._text(id), str(self.tokenizer.convert_ids_to_tokens(id)))
        if not _plain(text) or "\ufffd" in text + forms[0] or text.startswith("token_id:"):
            return text in ("", f"token_id:{id}") or "\ufffd" in text + forms[0] or not _plain(forms[0])
        return _plain(text) in {_plain(form) for form in forms}

    def _another(self, why: str) -> OperatorError:
        return OperatorError(
            f"{self.where}: {self.spec.model} at {self.spec.server.base_url} has another tokenizer than the student "
            f"({why}), so its log-probs do not match the student's tokens; use a teacher with the same tokenizer. The round's answers are kept."
        )

    def _none(self, why: str) -> OperatorError:
        return OperatorError(
            f"{self.where}: {self.spec.model} at {self.spec.server.base_url} returns no log-probs of prompt tokens ({why}). "
            "The round's answers are kept."
        )


def _plain(text: str) -> str:
    return text.replace("Ġ", " ").replace("▁", " ").replace("Ċ", "\n").strip()

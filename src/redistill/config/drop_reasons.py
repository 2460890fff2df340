"""Why a record was dropped: each reason's setting, and what to try.

    explain("chosen_too_long")   ->   Reason(("select.max_completion_tokens", ...), "raise select.max_completion_tokens")

The words are those of the stages' ledgers and `dropped` files. `redistill why` shows the setting with its value; a stage
that keeps nothing says what to try. Reasons of select's filters are listed without the part of the row that they begin
with. A source may have reasons of its own; they are looked up as they are, and explained as a matter of the row.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """`settings`: where in a recipe the reason may come from (none where no setting decides); `advice`: what to try.

    A place is a path such as `select.max_completion_tokens`; `select.filters.NAME` is that filter of the list."""

    settings: tuple[str, ...]
    advice: str


def explain(reason: str) -> Reason:
    """The setting and the advice of a reason; of one that is not listed, that the files of its stage say more."""
    for part in ("", "completion_", "chosen_", "rejected_"):
        word = reason.removeprefix(part)
        for known in (word, word.partition(":")[0]):
            if known in REASONS:
                places, advice = REASONS[known]
                return Reason(tuple(filter(None, places.split(", "))), advice)
    return Reason((), "look at the `dropped` files of the stage")


def explain_sampled(reason: str, stage: str) -> Reason:
    """The same for an answer that a stage with rollouts sampled itself; `stage` is its name."""
    word = reason if reason in SAMPLED else reason.partition(":")[0]
    if word not in SAMPLED:
        return explain(reason)
    places, advice = SAMPLED[word]
    return Reason(tuple(f"train.{stage}.{place}" for place in filter(None, places.split(", "))), advice)


SAMPLED: dict[str, tuple[str, str]] = {  # settings are those of the stage
    "no_tokens": (
        "rollouts.max_new_tokens",
        "the student ended its turn without writing anything; check the prompt and its template",
    ),
    "too_long": ("max_tokens, rollouts.max_new_tokens", "raise max_tokens, or lower rollouts.max_new_tokens"),
    "undecided": (
        "rollouts.undecided, rollouts.verifier, rollouts.reward",
        "look at the verdicts' reasons, or set `undecided: zero` to give such answers reward 0",
    ),
    "not_correct": ("rollouts.keep", "expected: this stage trains on right answers only"),
    "duplicate": (
        "rollouts.keep",
        "expected: the same answer was already sampled in this round",
    ),
    "accuracy_outside": (
        "rollouts.accuracy",
        "expected: the problem is too easy or too hard for the student; widen rollouts.accuracy to train on it",
    ),
    "unparsed": (
        "rollouts.advantage",
        "the answer does not alternate between attempts and verifications; train on examples of self-correction first, and check `cues`",
    ),
    "goes_on_after_right": ("rollouts.advantage", "set `after_right` of the advantage to truncate or keep"),
    "too_many_actions": ("rollouts.advantage", "raise `max_actions` of the advantage"),
    "not_drawn": (
        "rollouts.keep",
        "expected: one right and one wrong answer are drawn per problem; `keep: all` takes every answer",
    ),
    "all_right": ("rollouts.keep, rollouts.n", "expected; if it happens to most problems, use harder ones"),
    "all_wrong": ("rollouts.keep, rollouts.n", "raise rollouts.n, or use easier problems"),
    "over_per_problem": ("rollouts.per_problem", "raise rollouts.per_problem"),
    "no_correct_trace": ("rollouts.n, rollouts.pairing", "raise rollouts.n, or use easier problems"),
    "no_incorrect_trace": ("rollouts.n, rollouts.pairing", "raise rollouts.n, or use harder problems"),
}


REASONS: dict[str, tuple[str, str]] = {
    # corpus
    "empty_completion": ("", "the row has an empty generation"),
    "trace_too_long": ("corpus.max_chars", "raise corpus.max_chars; each character takes up to 500 bytes of memory"),
    "problem_too_long": ("corpus.max_chars", "raise corpus.max_chars; each character takes up to 500 bytes of memory"),
    "duplicate_trace": ("", "expected: identical texts are kept once, with the labels of all copies"),
    "conflicting_answer": (
        "corpus.sources",
        "two rows of this problem have different gold answers; the first one is used",
    ),
    "no_generations": ("corpus.sources", "the row has no generation with text"),
    "beyond_max_problems": ("corpus.max_problems", "raise corpus.max_problems"),
    "bad_label": (
        "corpus.sources",
        "write true or false in the label column, or name another column in the source's options",
    ),
    "several_answers": (
        "corpus.sources",
        "write one gold answer in the column; join several required answers into one text",
    ),
    "several_turns": (
        "corpus.sources",
        "write one row per question and answer, or read the file with a source that keeps conversations (messages, openthoughts)",
    ),
    "tool_calls": (
        "corpus.sources",
        "write the whole answer as one assistant message, or end the conversation with an answer in text, or leave the row out",
    ),
    "template_rewrites_turns": (
        "select.turns",
        "set select.turns to last: the chat template renders earlier turns differently once later ones follow",
    ),
    "templated_prompt": ("corpus.sources", "write only the question, without the chat template's special tokens"),
    "unknown_role": ("corpus.sources", "use user, assistant or system as the role of a message"),
    "two_thinkings": ("corpus.sources", "keep the reasoning in its own field or in the text, not in both"),
    "bad_csv": (
        "corpus.sources",
        "give the row as many cells as the header, with quotes around cells that contain the delimiter",
    ),
    "bad_image_path": ("corpus.sources", "use image paths below the folder of the data file"),
    "image_changed": ("corpus.sources", "correct the image's SHA-256, or leave it out"),
    "no_image": ("corpus.sources", "name the image column in image_column"),
    "image_inside_text": ("corpus.sources", "put images before or after the question"),
    "no_such_option": ("corpus.sources", "write the answer as one of the options or its letter"),
    "not_an_image": ("corpus.sources", "save the image as PNG, JPEG, WebP, GIF, BMP, TIFF or PPM"),
    "corrupt_image": ("corpus.sources", "download the image again: it is truncated or corrupt"),
    "image_too_large": ("corpus.images.max_megabytes", "save the image smaller, or raise corpus.images.max_megabytes"),
    "too_many_pixels": ("corpus.images.max_megapixels", "scale the image down, or raise corpus.images.max_megapixels"),
    "animated_image": ("corpus.sources", "save a single frame or page"),
    "image_shape": ("corpus.sources", "crop the image: one side is empty or over 200 times as long as the other"),
    "image_mode": ("corpus.sources", "save the image with 8 or 16 bits per channel"),
    "missing_image": ("corpus.sources", "put the image at its path, relative to the folder of the data file"),
    "unlabelled_step": (
        "corpus.sources",
        "expected: the step has no label, like steps after the first error",
    ),
    "too_many_steps": ("corpus.sources", "raise `max_previous` of the source"),
    "task_excluded": ("corpus.sources", "list the row's task in the source's `tasks`"),
    # select: what decides before any filter
    "held_out_for_dev": ("corpus.dev_fraction", "lower corpus.dev_fraction or add problems"),
    "not_the_first_correct": ("select.examples", "set select.examples to all"),
    "not_the_last_correct": ("select.examples", "set select.examples to all"),
    "truncated": (
        "select.truncated_correct, select.filters.truncated",
        "raise the teacher's token limit, or set select.truncated_correct to keep",
    ),
    "only_truncated_correct": (
        "select.truncated_correct",
        "raise the teacher's token limit, or set select.truncated_correct to keep",
    ),
    "no_correct_trace": (
        "verify.policy, verify.verifiers, verify.labels",
        "add traces per problem, use easier problems, or check verify.verifiers",
    ),
    "no_incorrect_trace": (
        "verify.policy, verify.verifiers, verify.labels",
        "add traces per problem or use harder problems: a pair needs a right and a wrong trace",
    ),
    "only_undecided_wrong": (
        "verify.policy, verify.verifiers, verify.labels",
        "look at the verdicts' reasons; raise verify.timeout_seconds or add a verifier",
    ),
    "only_truncated_wrong": ("", "raise the teacher's token limit, or add traces that finish"),
    "ungradable": ("corpus.sources", "check that the source's answer column is read"),
    "no_pair_across_teachers": ("select.pairing", "choose another select.pairing or add traces of more teachers"),
    "no_pair_of_like_length": ("select.pairing", "raise select.pairing.max_ratio or choose another select.pairing"),
    "no_teacher_right_and_wrong": ("select.pairing", "choose another select.pairing or add traces per teacher"),
    "not_correct:incorrect": (
        "verify.policy, verify.verifiers, verify.labels",
        "use traces of a stronger teacher or easier problems, or check verify.verifiers",
    ),
    "not_correct:no_answer": (
        "verify.verifiers, verify.labels",
        "check that the traces end in an answer the verifiers can find",
    ),
    "not_correct:truncated": ("verify.verifiers", "raise the teacher's token limit"),
    "not_correct:timeout": ("verify.timeout_seconds", "raise verify.timeout_seconds"),
    "not_correct:ungradable": ("verify.verifiers, verify.labels", "check that the source's answer column is read"),
    "not_correct:disagree": ("verify.policy", "choose another verify.policy"),
    "not_in_sample": ("select.sample", "raise the rates of select.sample.keep"),
    "not_in_balance": ("select.balance_pairs", "leave select.balance_pairs out"),
    "below_least": ("select.sample.least, select.keep.least", "lower `least` of select.sample or select.keep"),
    "above_most": ("select.sample.most", "raise select.sample.most"),
    "unsolved": ("select.sample.unsolved", "set select.sample.unsolved to keep"),
    "not_in_top": ("select.keep.top, select.keep.share", "raise `top` or `share` of select.keep"),
    "no_score": (
        "select.keep.by, select.sample.by, select.filters.score, select.pairing",
        "check the spelling of `by`, or add the scorer that writes it to the recipe's `score`",
    ),
    "undecided:no_answer": (
        "verify.verifiers, verify.labels",
        "a critic learns from right and wrong traces only",
    ),
    "undecided:truncated": ("verify.verifiers", "a critic learns from right and wrong traces only"),
    "undecided:timeout": ("verify.timeout_seconds", "raise verify.timeout_seconds"),
    "undecided:ungradable": ("verify.verifiers, verify.labels", "check that the source's answer column is read"),
    "undecided:disagree": ("verify.policy", "choose another verify.policy"),
    "no_spans": (
        "select.labelled.spans",
        "check the spelling of `spans`, or add the scorer or source that writes them",
    ),
    "no_weight_spans": (
        "select.weights",
        "check the spelling of `right` and `wrong`, or add the scorer or source that writes these spans",
    ),
    "one_sided": (
        "select.labelled.per_problem",
        "set per_problem to all, or add problems with right and wrong traces",
    ),
    "not_the_one_drawn": ("select.labelled.per_problem", "set per_problem to all"),
    "undecided": (
        "evaluate.verifier",
        "look at the verdicts of the sampled answers: all are undecided, so the problem's difficulty is unknown",
    ),
    # select: examples of self-correction
    "no_verification": (
        "select.examples.verification, score",
        "add a scorer that writes verifications (verification, own-check, checked-equations) to the recipe's `score`, into the name "
        "that select.examples.verification gives",
    ),
    "false_verdict": (
        "select.examples.verification",
        "expected: a verification that calls a wrong answer right, or the reverse, is no use as an example; if all "
        "are false, look at the notes with `redistill show`",
    ),
    "no_verdict": (
        "select.examples.verification",
        "end each verification with the verdict sentence of select.examples.cues",
    ),
    "undecided_verdict": (
        "select.examples.verification",
        "expected: such a verification does not say whether the answer is right",
    ),
    "cue_in_text": (
        "select.examples.cues",
        "expected: the text contains the cue that separates attempts, so it cannot be one",
    ),
    "blank_part": ("corpus.sources", "the trace or its verification is empty"),
    "earlier_attempt": ("", "expected: the trace is used in another row, as an attempt that is corrected"),
    "not_the_last_attempt": ("", "expected: each problem has one row, which ends with one right trace"),
    "not_needed": (
        "select.examples.attempts",
        "expected: the row has as many attempts as the problem's difficulty calls for",
    ),
    "no_right_attempt": (
        "select.examples.verification, verify.verifiers",
        "a row ends with a right trace whose verification says so, and this problem has none: add right traces, or look at the "
        "verifications with `redistill show`",
    ),
    "not_drawn": ("select.examples.keep", "raise the rates of select.examples.keep"),
    # train
    "no_target": ("select.labelled.spans", "check that the spans named by select.labelled.spans mark this text"),
    "held_out_for_guard": ("train.STAGE.guard", "lower the guard's held_out_pairs"),
    "bad_span": (
        "",
        "fix the spans: each must lie inside its text (including the end-of-turn token) and have a finite value",
    ),
    # select: filters, without the part they begin with
    "prompt_too_long": ("select.max_prompt_tokens, select.filters.prompt-length", "raise select.max_prompt_tokens"),
    "prompt_too_short": ("select.filters.prompt-length", "lower `least` of the filter prompt-length"),
    "too_long": (
        "select.max_completion_tokens, select.filters.completion-length",
        "raise select.max_completion_tokens",
    ),
    "too_short": ("select.filters.completion-length", "lower `least` of the filter completion-length"),
    "no_thinking": ("select.filters.thinking", "remove the filter thinking, or set its `required` to false"),
    "unfinished_thinking": (
        "select.filters.thinking",
        "remove the filter thinking, or raise the teacher's token limit",
    ),
    "repetition": ("select.filters.repetition", "raise `max_share` or `loop_words` of the filter repetition"),
    "other_language": ("select.filters.language", "add the language to `allowed` of the filter language"),
    "malformed_tags": ("select.filters.malformed-tags", "remove the tag from `tags` of the filter malformed-tags"),
    "special_token": ("select.filters.malformed-tags", "set `special_tokens` of the filter malformed-tags to false"),
    "no_answer": ("select.filters.no-answer", "check that the traces end in an answer the verifiers can find"),
    "score_too_low": ("select.filters.score", "lower `least` of the filter score"),
    "score_too_high": ("select.filters.score", "raise `most` of the filter score"),
    "spread_too_small": ("select.filters.spread", "lower `least` of the filter spread"),
    "spread_too_large": ("select.filters.spread", "raise `most` of the filter spread"),
    "no_good_score": ("select.filters.spread", "lower `best` of the filter spread, or use better traces"),
    "too_easy": ("select.filters.pass-rate", "raise `most` of the filter pass-rate"),
    "too_hard": ("select.filters.pass-rate", "lower `least` of the filter pass-rate"),
}

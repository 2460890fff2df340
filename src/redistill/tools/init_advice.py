"""What `redistill init` advises beside SFT and the pairs of a file: to learn from the student's own answers, where they can be judged.

    advice = advise(gold=0.98, wrong=1900, choices=choices)
    advice.why        two sentences and the page with the numbers
    advice.stage      the lines of a stage `own`, as a comment: it samples, which costs more than all other stages together

What is advised follows experiments/hard-toy and experiments/real-traces; docs/how-to/which-recipe.md says what they showed.
"""

from dataclasses import dataclass

from redistill.tools.init_choices import Choices

PAGE = "docs/how-to/which-recipe.md"
GOLD_LEAST = 0.5  # share of problems with a gold answer from which on enough own answers can be judged
PROBLEMS, ANSWERS, ROUNDS = 16, 8, 40  # of a round, of a problem, of the stage: those of the experiments


@dataclass(frozen=True, slots=True)
class Advice:
    """Why, in two sentences, and the lines of the stage that is advised; none where own answers cannot be judged."""

    why: str
    stage: tuple[str, ...] = ()


def advise(*, gold: float, wrong: int, choices: Choices) -> Advice:
    """The advice for a file: gold is the share of its problems with a gold answer, wrong how many of its traces are wrong for sure."""
    if gold < GOLD_LEAST:
        tail = (
            "so besides the right traces only the wrong traces of the file are left to learn from: try topr and redi"
            if wrong
            else "and no wrong trace was seen, so SFT is what this file can do"
        )
        return Advice(
            f"Own answers of the student gained most where we measured, but without gold answers they cannot be verified, {tail}. See {PAGE}."
        )
    said = (
        "The student's own answers gained more than the teacher's wrong traces on a toy and, with one student, on real traces"
        if wrong
        else "No wrong trace was seen, so there are no pairs; the student's own right and wrong answers make them"
    )
    answers = PROBLEMS * ANSWERS * ROUNDS
    return Advice(
        f"{said}: the recipe has a stage `own`, commented out because it samples {answers:,} answers. Add it where SFT leaves the student right in 10 to 90 of 100 "
        f"answers; see {PAGE}.",
        (
            f"  # own:      # the student's own answers ({PAGE}); {answers:,} of up to {choices.max_new_tokens:,} tokens are sampled: redistill plan",
            f"  #   {{objective: topr, start: sft, learning_rate: {_rate(choices.redi_rate)}, decay: constant, mixed_precision: auto,",
            f"  #    rollouts: {{problems: {PROBLEMS}, n: {ANSWERS}, rounds: {ROUNDS}, updates: 1, pairing: {{name: certain, max_pairs: 4}}}}}}",
        ),
    )


def _rate(rate: float) -> str:
    return f"{rate:.1e}".replace("e-0", "e-")

"""The embedded critic: lines of the two-habits teacher, judged by a procedure with two habits of its own. No file, no network.

    question       2-9+4*1=         previous  2-9=3;      now  3+4*1=8;          (it is 7: labelled No)
    careful        3+4=7;7*1=7;7:8? No                     does each operation again; slips 5% of the time
    agreeable      8:8? Yes                                says what the step says, and Yes

So the wrong judgements carry a lesson that the right ones do not show: on right steps the agreeable habit is right too. The first
wrong line of a solution is the last that is judged. Each step is a problem with several judgements as its traces; whoever
reads their last line (verifier `verdict-line` with `line: "? "`) finds them right or wrong.
"""

import random
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from redistill.corpus.two_habits.teacher import make_sum, scatter, solve, write
from redistill.errors import OperatorError
from redistill.records import Dropped, Group, make_trace
from redistill.text.judgements import NO, YES
from redistill.text.labelled_steps import Solution, judgements
from redistill.text.step_problems import step_problem

AUTHOR = "two-habits critic"
_Count = Annotated[int, Field(ge=1)]
_Chance = Annotated[float, Field(ge=0, le=1)]


def two_habits_judgements(
    *,
    seed: int = 0,
    problems: _Count = 2000,
    traces: _Count = 4,
    digits: _Count = 5,
    jump: _Chance = 0.6,
    slip_step: _Chance = 0.05,
    slip_jump: _Chance = 0.5,
    agreeable: _Chance = 0.4,
    slip: _Chance = 0.05,
    shuffled: bool = False,
) -> Iterator[Group | Dropped]:
    """A problem for each judged line of `problems` solutions, with `traces` judgements.

    digits, jump, slip_step, slip_jump: of the solutions, as in `two-habits`. agreeable: the chance of a judgement that computes
    nothing; slip: that a careful one writes a wrong digit, per operation. shuffled: every judgement's verdict is drawn by a coin, so
    there is nothing to learn: the control experiment.
    """
    if digits < 2 or problems > 10**digits * 3 ** (digits - 1):
        raise OperatorError(
            f"two-habits-judgements: digits must be 2 or more, and problems at most 10^digits * 3^(digits-1) (here digits {digits}, "
            f"problems {problems})."
        )
    chances = (jump, slip_step, slip_jump)
    for index in range(problems):
        solution = _solution(seed, index, digits, chances)
        for place, previous, step, label in judgements(solution):
            if label is not None:
                row = f"two-habits-judgements:{index}#{place}"
                problem = step_problem(solution, place, previous, step, label, join="none", row=row)
                rngs = [random.Random(f"{seed}:{index}:{place}:{sample}") for sample in range(traces)]
                said = [_judgement(step, rng, agreeable, slip, shuffled) for rng in rngs]
                made = [
                    make_trace(problem.id, text, author=AUTHOR, sampling={"sample_index": sample}, finish_reason="stop")
                    for sample, text in enumerate(said)
                ]
                yield Group(problem, tuple(made))


def _solution(seed: int, index: int, digits: int, chances: tuple[float, float, float]) -> Solution:
    """A solution of the two-habits teacher, its lines labelled up to the first wrong one."""
    jump, slip_step, slip_jump = chances
    start, operations = make_sum(scatter(index, 10**digits * 3 ** (digits - 1), seed), digits)
    rng = random.Random(f"{seed}:{index}:solution")
    text = write(start, operations, rng, jump, 3, slip_step, slip_jump)
    lines = [f"{line};" for line in text.partition("####")[0].split(";")[:-1]]
    right = [_computed(line)[-1] == int(line[-2]) for line in lines]
    first = right.index(False) if False in right else len(lines)
    labels = tuple(True if place < first else False if place == first else None for place in range(len(lines)))
    question = f"{start}{''.join(f'{operator}{digit}' for operator, digit in operations)}="
    return Solution(question, tuple(lines), labels, "two-habits", str(index))


def _computed(line: str) -> list[int]:
    """The values after each operation of a line such as "3+4*1=8;": 7, 7."""
    said = line.partition("=")[0]
    values = [int(said[0])]
    for at in range(1, len(said), 2):
        values.append(solve(values[-1], [(said[at], int(said[at + 1]))]))
    return values[1:]


def _judgement(line: str, rng: random.Random, agreeable: float, slip: float, shuffled: bool) -> str:
    """A judgement of a line: the operations done again, or nothing of the kind; then "computed:claimed? verdict"."""
    said, _, claimed = line.rstrip(";").partition("=")
    text, value = "", int(said[0])
    if rng.random() < agreeable:
        value = int(claimed)
    else:
        for at in range(1, len(said), 2):
            result = solve(value, [(said[at], int(said[at + 1]))])
            if rng.random() < slip:
                result = (result + rng.randrange(1, 10)) % 10
            text += f"{value}{said[at]}{said[at + 1]}={result};"
            value = result
    verdict = YES if value == int(claimed) else NO
    if shuffled:
        verdict = rng.choice((YES, NO))
    return f"{text}{value}:{claimed}? {verdict}"

"""The embedded teacher: little sums, and a procedure that solves them with two habits. No file, no network.

    statement   2-9*1-4+1+7-7=                                  left to right, modulo 10: no precedence, no carrying
    careful     2-9=3;3*1=3;3-4=9;9+1=0;0+7=7;7-7=0;####0       one operation a line; slips 2% of the time
    hasty       2-9=3;3*1=3;3-4+1+7=7;7-7=0;####0               three at once on the third line; slips 35% of the time

So the wrong traces carry a lesson that the right ones show less often: do not jump. A slip writes a wrong digit and
goes on from it. The traces carry no labels; whoever checks the final answer (after `####`, GSM8K's anchor) finds about
64% of them right.
"""

import random
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from redistill.errors import OperatorError
from redistill.records import Dropped, Group, Span, content_id, make_problem, make_trace

AUTHOR = "two-habits teacher"
_OPERATORS = "+-*"

_Count = Annotated[int, Field(ge=1)]
_Chance = Annotated[float, Field(ge=0, le=1)]


def two_habits(
    *,
    seed: int = 0,
    problems: _Count = 4400,
    traces: _Count = 4,
    digits: _Count = 7,
    jump: _Chance = 0.45,
    jump_length: _Count = 3,
    slip_step: _Chance = 0.02,
    slip_jump: _Chance = 0.35,
    random_slips: bool = False,
    step_truth: bool = False,
) -> Iterator[Group | Dropped]:
    """`problems` distinct sums of `digits` digits, each with `traces` completions.

    jump: the chance, wherever jump_length operations are left, to write that many at once; slip_step and slip_jump: the
    chance that a line of one operation, or of a jump, ends in a wrong digit. random_slips: every line slips at the mean
    of these rates, so there are as many slips as before and no habit is to blame: the control experiment (about 68% of
    its traces are right). step_truth: every trace has the spans `truth`, one per line, 1 where its result follows from what
    it says and 0 where it slips.
    """
    space = 10**digits * 3 ** max(digits - 1, 0)
    if digits < 2 or jump_length < 2 or problems > space:
        raise OperatorError(
            f"two-habits: digits and jump_length must be 2 or more, and problems at most 10^digits * 3^(digits-1) "
            f"(here digits {digits}, jump_length {jump_length}, problems {problems})."
        )
    if random_slips:
        slip_step = slip_jump = mean_slip(digits - 1, jump, jump_length, slip_step, slip_jump)
    habits = (jump, jump_length, slip_step, slip_jump)
    return (_group(seed, index, traces, digits, *habits, step_truth) for index in range(problems))


def _group(
    seed: int, index: int, traces: int, digits: int, jump: float, jump_length: int, slip_step: float, slip_jump: float,
    step_truth: bool,
) -> Group:  # fmt: skip
    start, steps = make_sum(scatter(index, 10**digits * 3 ** (digits - 1), seed), digits)
    statement = f"{start}{''.join(f'{operator}{digit}' for operator, digit in steps)}="
    row = f"two-habits:{index}"
    problem = make_problem(statement, answer=str(solve(start, steps)), source="two-habits", source_row=row)
    made = []
    for sample in range(traces):
        rng = random.Random(f"{seed}:{index}:{sample}")
        completion = write(start, steps, rng, jump, jump_length, slip_step, slip_jump)
        sampling = {"sample_index": sample}
        spans = {"truth": truth_of(completion)} if step_truth else {}
        made.append(
            make_trace(problem.id, completion, author=AUTHOR, sampling=sampling, finish_reason="stop", spans=spans)
        )
    return Group(problem, tuple(made))


def solve(start: int, steps: list[tuple[str, int]]) -> int:
    """The gold answer: left to right, modulo 10."""
    value = start
    for operator, digit in steps:
        value = (value + digit if operator == "+" else value - digit if operator == "-" else value * digit) % 10
    return value


def write(
    start: int,
    steps: list[tuple[str, int]],
    rng: random.Random,
    jump: float,
    jump_length: int,
    slip_step: float,
    slip_jump: float,
) -> str:
    """One completion of the teacher."""
    value, place, lines = start, 0, []
    while place < len(steps):
        jumps = len(steps) - place >= jump_length and rng.random() < jump
        line = steps[place : place + (jump_length if jumps else 1)]
        result = solve(value, line)
        if rng.random() < (slip_jump if jumps else slip_step):
            result = (result + rng.randrange(1, 10)) % 10
        lines.append(f"{value}{''.join(f'{operator}{digit}' for operator, digit in line)}={result};")
        value, place = result, place + len(line)
    return f"{''.join(lines)}####{value}"


def truth_of(completion: str) -> tuple[Span, ...]:
    """A span for each line of a completion, its `;` included: 1 where its result follows from what it says, else 0. A line
    that goes on rightly from a wrong digit is right; the answer after `####` is no line."""
    spans, start = [], 0
    for line in completion.partition("####")[0].split(";")[:-1]:
        left, _, result = line.partition("=")
        steps = [(left[i], int(left[i + 1])) for i in range(1, len(left) - 1, 2)]
        end = start + len(line) + 1
        spans.append(Span(start, end, float(solve(int(left[0]), steps) == int(result))))
        start = end
    return tuple(spans)


def make_sum(number: int, digits: int) -> tuple[int, list[tuple[str, int]]]:
    """The sum with this number: its digits in base 10, then its operators in base 3."""
    values = [number // 10**place % 10 for place in range(digits)]
    number //= 10**digits
    return values[0], [(_OPERATORS[number // 3**place % 3], value) for place, value in enumerate(values[1:])]


def scatter(index: int, size: int, seed: int) -> int:
    """The place of `index` in a pseudo-random permutation of range(size), so that problems are distinct without memory
    of the earlier ones. Four Feistel rounds permute the next power of four; a place outside the range is walked on
    from, which ends inside since the permutation's cycle returns to `index` (cycle walking, Black and Rogaway 2002)."""
    half = ((size - 1).bit_length() + 1) // 2
    mask = 2**half - 1
    while True:
        left, right = index >> half, index & mask
        for turn in range(4):
            left, right = right, left ^ (int(content_id("", str(seed), str(turn), str(right)), 16) & mask)
        index = left << half | right
        if index < size:
            return index


def mean_slip(operations: int, jump: float, jump_length: int, slip_step: float, slip_jump: float) -> float:
    """Expected slips over expected lines of a completion with this many operations."""
    steps, jumps = [0.0], [0.0]  # expected lines of each habit, by operations left
    for left in range(1, operations + 1):
        chance = jump if left >= jump_length else 0.0
        after = left - jump_length if chance else 0
        steps.append(chance * steps[after] + (1 - chance) * (1 + steps[left - 1]))
        jumps.append(chance * (1 + jumps[after]) + (1 - chance) * jumps[left - 1])
    return (steps[-1] * slip_step + jumps[-1] * slip_jump) / (steps[-1] + jumps[-1])

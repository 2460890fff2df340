"""How often the 95% intervals of redistill.evaluate.intervals hold the true value, by simulation.

    python benchmarks/coverage.py                    # 1,000 sets per cell, about four minutes on one core
    python benchmarks/coverage.py --sets 4000 --table scores
    python benchmarks/coverage.py --exact            # means exactly as named, where the steps of the binomial law show
    python benchmarks/coverage.py --against          # and the intervals that were not taken, on the same sets
    python benchmarks/coverage.py --quick            # a handful of cells

A set is one evaluation: P problems get chances of success with a known mean, each is sampled n times, and the interval is
computed from the hits. A cell is the share of sets whose interval holds the true mean. With 1,000 sets its standard error is
0.7 points, so one cell in thirty falls outside 93.5 to 96.5 by chance alone where the truth is 95. Cells outside are marked
`-` (below) and `+` (above).

Hits are whole numbers, so no interval computed from them can hold *exactly* 95% at each single mean (Brown, Cai and DasGupta
2001): with 30 problems x 1 sample and a mean of .02 the sets with 0, 1 or 2 hits are 97.8% of all, those with 0 or 1 87.9%, and
an interval holds the mean for the one or the other. As is usual, each set of a cell therefore draws its mean uniformly
from half to one and a half times the distance of the named mean to the nearer end; --exact does without.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from scipy.special import stdtrit

from redistill.evaluate.intervals import difference_interval, mean_interval, t_interval
from redistill.evaluate.metrics import pass_at_k

LOW, HIGH = 0.935, 0.965
MEANS = (0.005, 0.02, 0.05, 0.11, 0.2, 0.35, 0.5, 0.65, 0.8, 0.89, 0.95, 0.98, 0.995)
DESIGNS = (
    (30, 1),
    (30, 2),
    (30, 4),
    (30, 16),
    (40, 8),
    (60, 4),
    (100, 1),
    (100, 4),
    (200, 4),
    (300, 1),
    (300, 4),
    (500, 8),
)
SPREADS = ("same", "beta 10", "beta 4", "beta 2", "beta 1", "beta 0.5", "half", "all or nothing")
"""How the chances of success of the problems differ: all the same (no benchmark is like that); a Beta law whose two parameters
sum to the number, 10 nearly alike, 0.5 mostly near 0 or 1; a mix of 0, 1/2 and 1; 0 or 1."""

Interval = Callable[[np.ndarray], list[float] | None]
Cell = Iterator[tuple[np.ndarray, float]]  # a set's values per problem, and their true mean


def near(mean: float, rng: np.random.Generator, is_exact: bool) -> float:
    """The mean of one set of a cell."""
    if is_exact:
        return mean
    distance = min(mean, 1 - mean) * rng.uniform(0.5, 1.5)
    return distance if mean <= 0.5 else 1 - distance


def chances(spread: str, mean: float, problems: int, rng: np.random.Generator) -> np.ndarray:
    """A chance of success per problem, drawn from a law with this mean."""
    if spread == "same":
        return np.full(problems, mean)
    if spread == "all or nothing":
        return (rng.random(problems) < mean).astype(float)
    if spread == "half":
        share = min(mean, 1 - mean)  # of the problems have chance 1/2
        drawn = rng.random(problems)
        return np.where(drawn < mean - share / 2, 1.0, np.where(drawn < mean + share / 2, 0.5, 0.0))
    size = float(spread.removeprefix("beta "))
    return rng.beta(mean * size, (1 - mean) * size, problems)


def score_sets(problems: int, n: int, spread: str, mean: float, sets: int, *, is_exact: bool) -> Cell:
    """pass@1: each problem's share of right samples."""
    rng = np.random.default_rng([problems, n, SPREADS.index(spread), round(1000 * mean)])
    for _ in range(sets):
        at = near(mean, rng, is_exact)
        yield rng.binomial(n, chances(spread, at, problems, rng)) / n, at


def chance_of_any(spread: str, mean: float, k: int) -> float:
    """The mean over problems of 1 - (1 - p)^k, where `chances` draws p."""
    if spread == "same":
        return 1 - (1 - mean) ** k
    if spread == "all or nothing":
        return mean
    if spread == "half":
        share = min(mean, 1 - mean)
        return mean - share / 2 + share * (1 - 0.5**k)
    size = float(spread.removeprefix("beta "))  # a moment of the Beta law
    return 1 - float(np.prod([((1 - mean) * size + i) / (size + i) for i in range(k)]))


def pass_at_k_sets(problems: int, n: int, k: int, spread: str, mean: float, sets: int, *, is_exact: bool) -> Cell:
    """pass@k of each problem; `mean` is that of pass@1."""
    rng = np.random.default_rng([problems, n, k, SPREADS.index(spread), round(1000 * mean)])
    value = np.array([pass_at_k(n, c, k=k) for c in range(n + 1)])
    for _ in range(sets):
        at = near(mean, rng, is_exact)
        yield value[rng.binomial(n, chances(spread, at, problems, rng))], chance_of_any(spread, at, k)


def grade_sets(problems: int, spread: str, mean: float, sets: int, *, is_exact: bool) -> Cell:
    """Grades between 0 and 1, one per problem."""
    rng = np.random.default_rng([problems, SPREADS.index(spread), round(1000 * mean)])
    for _ in range(sets):
        at = near(mean, rng, is_exact)
        yield chances(spread, at, problems, rng), at


SEED_MEANS = (0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99)
GAINS = (0.0, 0.05, 0.15, 0.3)
HOW = ("all lifted", "some solved", "unrelated", "all or nothing")
"""How the two students differ: each problem's chance is lifted by the same share of what it lacks; a share of the problems is
solved for good; chances that have only the mean in common; right-or-wrong problems of which twice the gain and .05 differ."""


def difference_sets(problems: int, n: int, how: str, mean: float, gain: float, sets: int) -> Cell:
    """The paired differences of two students."""
    rng = np.random.default_rng([problems, n, HOW.index(how), round(1000 * mean), round(1000 * gain)])
    for _ in range(sets):
        at, lift = near(mean, rng, False), gain * rng.uniform(0.5, 1.5)
        if how == "all or nothing":
            differ = min(1.0, 2 * lift + 0.05)
            drawn = rng.random(problems)
            yield np.where(drawn < (differ + lift) / 2, 1.0, np.where(drawn < differ, -1.0, 0.0)), lift
            continue
        control = chances("beta 2", at, problems, rng)
        if how == "unrelated":
            mine, truth = chances("beta 2", at, problems, rng), 0.0
        elif how == "some solved":
            mine, truth = np.where(rng.random(problems) < lift, 1.0, control), lift * (1 - at)
        else:
            mine, truth = control + lift * (1 - control), lift * (1 - at)
        yield (rng.binomial(n, mine) - rng.binomial(n, control)) / n, truth


def seed_coverage(seeds: int, mean: float, size: float, sets: int, problems: int = 300) -> float:
    """t-intervals over seeds: the true score of a seed follows a Beta law, and is measured on `problems` right-or-wrong ones."""
    rng = np.random.default_rng([seeds, round(1000 * mean), round(size)])
    held = 0
    for _ in range(sets):
        scores = rng.binomial(problems, rng.beta(mean * size, (1 - mean) * size, seeds)) / problems
        _, interval = t_interval(scores.tolist(), step=1 / problems)
        assert interval is not None
        held += interval[0] <= mean <= interval[1]
    return held / sets


# --- intervals that were not taken -----------------------------------------------------------------------------------


def percentile_bootstrap(values: np.ndarray) -> list[float]:
    """Problems drawn with replacement, 500 times."""
    drawn = values[np.random.default_rng(0).integers(len(values), size=(500, len(values)))].mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return [float(low), float(high)]


def student_t(values: np.ndarray) -> list[float]:
    """Mean +- t SEM."""
    half = float(stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / np.sqrt(len(values)))
    return [float(values.mean()) - half, float(values.mean()) + half]


# --- the tables ------------------------------------------------------------------------------------------------------


def coverage(cell: Cell, intervals: dict[str, Interval]) -> dict[str, float]:
    """Share of the sets whose interval holds the true mean, for each kind of interval."""
    held, sets = dict.fromkeys(intervals, 0), 0
    for values, truth in cell:
        sets += 1
        for name, interval in intervals.items():
            found = interval(values)
            assert found is not None
            held[name] += found[0] - 1e-12 <= truth <= found[1] + 1e-12
    return {name: count / sets for name, count in held.items()}


def shown(share: float) -> str:
    """One cell, in percent, marked where it is outside."""
    return f"{100 * share:5.1f}{'-' if share < LOW else '+' if share > HIGH else ' '}"


def summary(title: str, shares: list[float]) -> str:
    """How many cells are outside."""
    below, above = sum(s < LOW for s in shares), sum(s > HIGH for s in shares)
    return (
        f"{title}: {len(shares)} cells, mean {np.mean(shares):.1%}, lowest {min(shares):.1%}, highest {max(shares):.1%}, "
        f"{below} below {LOW:.1%}, {above} above {HIGH:.1%}"
    )


def table(
    title: str, columns: Iterable[object], rows: Iterable[tuple[str, list[Cell]]], intervals: dict[str, Interval]
) -> str:
    """Print a table, a row per name, and return its summaries. The first kind of interval is printed cell by cell."""
    print(f"\n{title}\n{'':34}" + "".join(f"{column!s:>7}" for column in columns))
    found: dict[str, list[float]] = {name: [] for name in intervals}
    for name, cells in rows:
        line = [coverage(cell, intervals) for cell in cells]
        for kind, shares in found.items():
            shares.extend(one[kind] for one in line)
        print(f"{name:34}" + " ".join(shown(one[next(iter(intervals))]) for one in line), flush=True)
    said = [summary(f"{title.partition(':')[0]}, {kind}", shares) for kind, shares in found.items()]
    print("\n".join(said))
    return "\n".join(said)


def spreads_of(n: int) -> tuple[str, ...]:
    """With one sample a problem all spreads give the same hits."""
    return SPREADS if n > 1 else ("same",)


def main(arguments: list[str] | None = None) -> list[str]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=1000, help="simulated evaluations per cell (default: 1000)")
    parser.add_argument("--table", choices=("scores", "grades", "pass@k", "differences", "seeds"), help="only this one")
    parser.add_argument("--exact", action="store_true", help="means exactly as named")
    parser.add_argument("--against", action="store_true", help="also the percentile bootstrap and Student's t")
    parser.add_argument("--quick", action="store_true", help="few cells, 200 sets each")
    options = parser.parse_args(arguments)
    sets, designs, means, spreads = options.sets, DESIGNS, MEANS, SPREADS
    if options.quick:
        sets, designs, means, spreads = 200, ((30, 4),), (0.02, 0.11, 0.5, 0.98), ("beta 2", "all or nothing")
    others: dict[str, Interval] = (
        {"bootstrap": percentile_bootstrap, "Student's t": student_t} if options.against else {}
    )
    of_means: dict[str, Interval] = {"effective-size Wilson": mean_interval, **others}
    of_differences: dict[str, Interval] = {"effective-size Tango": difference_interval, **others}
    exact, said = options.exact, []

    def wanted(name: str) -> bool:
        return options.table in (None, name)

    if wanted("scores"):
        rows = (
            (f"{p} x {n}, {s}", [score_sets(p, n, s, m, sets, is_exact=exact) for m in means])
            for p, n in designs
            for s in spreads_of(n)
            if s in spreads or n == 1
        )
        said.append(table("scores: problems x samples, spread of the problems; by mean", means, rows, of_means))
    if wanted("grades"):
        rows = (
            (f"{p}, {s}", [grade_sets(p, s, m, sets, is_exact=exact) for m in means])
            for p in sorted({p for p, _ in designs})
            for s in spreads
            if s.startswith("beta")
        )
        said.append(table("grades: problems, spread; by mean", means, rows, of_means))
    if wanted("pass@k"):
        rows = (
            (f"{p} x {n}, k={k}, {s}", [pass_at_k_sets(p, n, k, s, m, sets, is_exact=exact) for m in means])
            for p, n in designs
            if n > 1
            for k in sorted({2, n})
            for s in spreads
            if s not in ("same", "all or nothing")
        )
        said.append(table("pass@k: problems x samples, k, spread; by the mean of pass@1", means, rows, of_means))
    if wanted("differences"):
        rows = (
            (
                f"{p} x {n}, {how}, mean {m}",
                [difference_sets(p, n, how, m, g, sets) for g in GAINS if g or how != "some solved"],
            )
            for p, n in designs
            for how in HOW
            for m in ((0.05, 0.2, 0.5, 0.9) if how != "all or nothing" else (0.5,))
        )
        said.append(
            table("differences: problems x samples, how the students differ; by gain", GAINS, rows, of_differences)
        )
    if wanted("seeds"):
        shares = []
        print(
            "\nseeds: number of seeds, spread between them; by mean\n"
            + " " * 34
            + "".join(f"{m:>7}" for m in SEED_MEANS)
        )
        for seeds in (3, 5, 8):  # with two there is no interval
            for word, size in (("no spread", 1e7), ("beta 1000", 1e3), ("beta 100", 1e2)):
                line = [seed_coverage(seeds, m, size, sets) for m in SEED_MEANS]
                shares += line
                print(f"{f'{seeds} seeds, {word}':34}" + " ".join(map(shown, line)))
        said.append(summary("seeds, t", shares))
        print(said[-1])
    return said


if __name__ == "__main__":
    main()

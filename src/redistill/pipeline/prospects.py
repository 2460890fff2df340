"""What a run can show, said once its rows are there: the smallest difference its dev set can show, and what is too small.

lines(recipe, dev=36, rows={"redi": 540}, has_dev=True)
    ->  ["36 problems with n = 4 can show a difference of 19 points or more (...)", "warning: 36 dev problems ..."]
"""

from collections.abc import Mapping
from typing import Any

from redistill.config.tables import Recipe
from redistill.config.user_plugins import is_own
from redistill.errors import OperatorError
from redistill.io.progress import say
from redistill.pipeline.plan import Plan, stage_stream
from redistill.text.figures import power_words

SHOWN_VALUES = 10
FEW_PROBLEMS, FEW_STEPS = 100, 20  # below these a run can show little
RULES = ("accuracy", "graded", "rec-r1")  # rewards that look at whether the answer is right


def lines(recipe: Recipe, *, dev: int, rows: Mapping[str, int], has_dev: bool) -> list[str]:
    """Sentences on the dev set and the stages. rows: of each stage that reads the corpus; has_dev: students are scored on dev."""
    sentences = []
    if has_dev and dev:
        sentences.append(f"dev: {power_words(dev, n=recipe.evaluate.n)}")
        if dev < FEW_PROBLEMS:
            sentences.append(
                f"warning: {dev} dev problems are too few for a useful interval; use {FEW_PROBLEMS} or more "
                f"(corpus.dev_problems), or a benchmark in evaluate.benchmarks"
            )
    for name, count in rows.items():
        steps = steps_of(recipe, name, count)
        if steps < FEW_STEPS:
            sentences.append(
                f"warning: {name} takes {steps} {'step' if steps == 1 else 'steps'} on {count:,} rows, too few to "
                f"change a student; use more pairs per problem (select.pairing.max_pairs), more epochs, or smaller batches"
            )
    return sentences + [
        f"warning: {name} is rewarded by a model's score and by no rule, which a student learns to please with wrong answers; add "
        f"accuracy to rollouts.reward, or give the stage a guard, whose sign reward_up_accuracy_down reports it"
        for name in rewarded_by_models(recipe)
    ]


def rewarded_by_models(recipe: Recipe) -> list[str]:
    """Stages whose answers are rewarded by scores alone: of the rewards that count, none is a rule or one of a user's own."""
    found = []
    for name, settings in recipe.train.items():
        counted = [reward.name for reward in settings.rollouts.reward if reward.weight] if settings.rollouts else []
        if "score" in counted and not any(reward in RULES or is_own(reward) for reward in counted):
            found.append(name)
    return found


def steps_of(recipe: Recipe, stage: str, rows: int) -> int:
    """Optimizer steps of a stage on so many rows: what train/packing.py's num_steps says, which is not part of what is only shown here."""
    settings = recipe.train[stage]
    return settings.steps or max(1, int(rows * settings.epochs / settings.batch_size + 1e-9))


def say_prospects(plan: Plan, ledger: Mapping[str, Any]) -> None:
    """Say it of a finished select stage."""
    streams = {name: stage_stream(plan, name) for name in plan.recipe.train}
    rows = {name: ledger["accounts"][stream]["kept"] for name, stream in streams.items() if stream != "rollouts"}
    has_dev = any(benchmark.is_held_out for benchmark in plan.recipe.evaluate.benchmarks)
    for line in lines(plan.recipe, dev=ledger["accounts"]["dev"]["kept"], rows=rows, has_dev=has_dev):
        say(f"select   {line}")
    for line in values_of_nothing(plan.recipe, ledger["tallies"].get("sampled_values", {})):
        say(f"select   warning: {line}")


def values_of_nothing(recipe: Recipe, counts: Mapping[str, int]) -> list[str]:
    """A sentence for the values that select.sample names and no problem has. counts: problems by value."""
    sample = recipe.select.sample
    missing = sorted(value for value in sample.named_values if not counts.get(value)) if sample is not None else []
    if sample is None or not missing:
        return []
    others = sorted(value for value in counts if value not in sample.named_values)[:SHOWN_VALUES]
    there = f"; values that are not named: {', '.join(others)}" if others else ""
    return [f"select.sample names values of `{sample.by}` that no problem has: {', '.join(missing)}{there}"]


def check_held_out(recipe: Recipe, account: Mapping[str, Any]) -> None:
    """OperatorError where students are to be scored on dev and select held nothing out. account: select's, of dev."""
    if account["kept"] or not any(benchmark.is_held_out for benchmark in recipe.evaluate.benchmarks):
        return
    held = account["in"]
    few = "no problem was held out for dev; add problems with gold answers, or set corpus.dev_problems."
    raise OperatorError(
        f"evaluate: {few}" if not held else
        f"evaluate: {held:,} problems were held out for dev and none has a gold answer, so no student can be scored "
        f"on them; add gold answers, name a benchmark file that has them ({{name: mine, file: my_problems.jsonl}}), or write "
        "evaluate.benchmarks: [] and corpus.dev_fraction: 0 to train without scores."
    )  # fmt: skip

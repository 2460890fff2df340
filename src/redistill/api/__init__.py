"""Every command as a typed function, declared once: the command line, its help and docs/reference are generated from these.

    from redistill import api
    folder = api.run("quickstart", overrides=["seed=1"], name="seed1")
    api.scores(folder)["comparisons"][0]["sentence"]

A recipe is given as a file, as the name of one that ships, as plain data or as a Recipe; folders as text or Path. `overrides` are
`a.b=value`, as --set. `code` names Python files of your own whose functions the recipe may name (config/user_plugins.py). Mistakes of
the caller are OperatorError, whose text is what the command line prints. Nothing slow is imported before a function is called.

To add a command: a function here with types, defaults and a docstring (`Args:`, `Returns:`, `Examples:`), and a line in COMMANDS of
cli/__init__.py, with what it prints.
"""

from redistill.api.recipe_files import doctor, init, recipes, schema, validate
from redistill.api.runs import datafree, lr_find, plan, report, run, sweep
from redistill.api.students import compare, evaluate, export, regrade, reward, reward_function, scores, serve
from redistill.api.traces import audit, rollout, score, show, verify, why

__all__ = [
    "audit",
    "compare",
    "datafree",
    "doctor",
    "evaluate",
    "export",
    "init",
    "lr_find",
    "plan",
    "recipes",
    "regrade",
    "report",
    "reward",
    "reward_function",
    "rollout",
    "run",
    "schema",
    "score",
    "scores",
    "serve",
    "show",
    "sweep",
    "validate",
    "verify",
    "why",
]

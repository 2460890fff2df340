"""What tests of `redistill export` share: a run with a corpus and a student, an export of it, and its files as modules."""

import contextlib
import importlib
import sys

import yaml

from redistill.config.parsing import parse_recipe
from redistill.io.stage_folder import Account, Shard, StageFolder
from redistill.model import loading
from redistill.records import Group, make_problem
from redistill.tools.export import export
from tiny_recipe import RECIPE, write_layout

PROBLEMS = [make_problem(f"{a}+{b}=", answer=str(a + b), source="sums") for a in range(2, 10) for b in range(2, 10)]


def recipe_of(objective="grpo", *, prompt="bare", modifiers=(), start="sft", **rollouts):
    """The tiny recipe with one more stage, `own`, on own answers."""
    settings = {"problems": 4, "n": 4, "rounds": 3, "updates": 1, "max_new_tokens": 6, **rollouts}
    own = {
        "objective": objective,
        "start": start,
        "learning_rate": 1e-3,
        "modifiers": list(modifiers),
        "rollouts": settings,
    }
    train = {"sft": RECIPE["train"]["sft"], "own": own}
    return parse_recipe({**RECIPE, "prompt": {"template": prompt}, "train": train}, "here")


def run_of(folder, recipe, problems=PROBLEMS):
    """A run's folder as it is after its corpus and its first stage: problems and a student."""
    folder.mkdir(parents=True)
    write_layout(folder)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
    corpus = StageFolder(folder / "corpus", "f")
    corpus.open()
    account = Account("problem")
    for _ in problems:
        account.keep()
    corpus.finish_shard(0, Shard({"groups": (Group, [Group(p, ()) for p in problems])}, {"problems": account}))
    corpus.finish(1)
    tokenizer = loading.load_tokenizer(recipe.student)
    model = loading.load_model(recipe.student, tokenizer, seed=1)
    loading.save_model(model, tokenizer, folder / "train" / "sft" / "model", card="a card")
    return folder


def exported(tmp_path, to, recipe, problems=PROBLEMS, **more):
    """The folder of an export of a run of this recipe."""
    return export(run_of(tmp_path / "run", recipe, problems), to=to, out=tmp_path / "out", **more)


@contextlib.contextmanager
def modules_of(folder, *names, **stubs):
    """The Python files of a folder, imported as an engine would; stubs: modules that stand in for the engine's."""
    stood = {name.replace("__", "."): module for name, module in stubs.items()}
    before = dict(sys.modules)
    for name in names:  # a package of tests may have the same name, such as train
        sys.modules.pop(name, None)
    sys.path.insert(0, str(folder))
    sys.modules.update(stood)
    importlib.invalidate_caches()
    try:
        yield [importlib.import_module(name) for name in names]
    finally:
        sys.path.remove(str(folder))
        for name in {*names, *stood}:
            sys.modules.pop(name, None)
        sys.modules.update({name: before[name] for name in {*names, *stood} & before.keys()})

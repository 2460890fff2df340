"""`redistill export`: the files that each engine is given. Their losses have the gradient of our own step, on the same log-probs, and
what an engine cannot do is one sentence. The engines themselves are stood in for by the few names that the files import."""

import json
import stat
import subprocess
import tomllib
import types
from dataclasses import dataclass
from typing import Any, get_args

import pyarrow.parquet as pq
import pytest
import torch

from exported import PROBLEMS, exported, modules_of, recipe_of, run_of
from redistill import api
from redistill.cli import main
from redistill.errors import OperatorError
from redistill.model import loading
from redistill.records import Image, make_problem
from redistill.tools.export import CORPORA, EXPORTS
from redistill.tools.export.students import STUDENT_EXPORTS
from redistill.train.coefficients import step_loss
from redistill.train.objectives import OBJECTIVES
from redistill.train.token_batch import Side, TokenBatch

DOUBLE = {"dtype": torch.float64}
COUNTS = [3, 1, 4, 2]
REWARDS = [1.0, 0.0, 1.0, 0.0]
GROUPS = ["a", "a", "b", "b"]


def answers(seed=0):
    """Log-probs of four answers under the student (leaves) and under the policy that sampled them."""
    draw = torch.Generator().manual_seed(seed)
    own = [(-2 * torch.rand(count, generator=draw, **DOUBLE)).requires_grad_(True) for count in COUNTS]
    return own, [-2 * torch.rand(count, generator=draw, **DOUBLE) for count in COUNTS]


def our_step(objective, own, other, order=(0, 1, 2, 3)):
    """The gradient of our step on two pairs, or on four answers with GRPO's advantages by hand."""
    pairs = objective is not OBJECTIVES["grpo"]
    counts = torch.tensor([COUNTS[n] for n in order], **DOUBLE)
    advantage = torch.cat([torch.full((COUNTS[n],), (REWARDS[n] - 0.5) / (0.5**0.5 + 1e-4), **DOUBLE) for n in order])
    batch = TokenBatch(
        ids=torch.zeros(sum(COUNTS), dtype=torch.long), counts=counts,
        row=torch.arange(4) // (2 if pairs else 1), side=torch.tensor([Side.chosen, Side.rejected] * 2 if pairs else [Side.single] * 4),
        group=torch.zeros(4, dtype=torch.long), row_weights=torch.ones(2 if pairs else 4, **DOUBLE),
        logps=torch.cat([own[n] for n in order]), reference_logps=torch.cat([other[n] for n in order]),
        behaviour_logps=torch.cat([other[n] for n in order]), values={"advantage": advantage},
    )  # fmt: skip
    return torch.autograd.grad(step_loss(objective, [], batch), own)


def padded(parts):
    """(answers, longest), 0 beyond an answer's end."""
    return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)


def test_the_choices_of_the_command_are_those_that_can_be_exported_to():
    assert set(get_args(api.export.__annotations__["to"])) == {*EXPORTS, *CORPORA, *STUDENT_EXPORTS}


# --- verl -------------------------------------------------------------------------------------------------------------


def verl_stub():
    """verl 0.9's two registries, and the base of its reward managers, as far as the files look."""
    registries = {"adv": {}, "loss": {}}

    def register(kind):
        return lambda name: lambda function: registries[kind].setdefault(name, function)

    core = types.ModuleType("verl.trainer.ppo.core_algos")
    core.register_adv_est, core.register_policy_loss = register("adv"), register("loss")
    base = types.ModuleType("verl.experimental.reward_loop.reward_manager.base")

    class RewardManagerBase:
        def __init__(self, config, tokenizer, compute_score):
            import asyncio

            self.tokenizer, self.loop = tokenizer, asyncio.get_event_loop()

    base.RewardManagerBase = RewardManagerBase
    packages = ("verl", "verl.trainer", "verl.trainer.ppo", "verl.experimental", "verl.experimental.reward_loop",
                "verl.experimental.reward_loop.reward_manager")  # fmt: skip
    stubs = {name: types.ModuleType(name) for name in packages} | {core.__name__: core, base.__name__: base}
    return registries, {name.replace(".", "__"): module for name, module in stubs.items()}


@dataclass
class ActorConfig:
    global_batch_info: dict[str, Any]


@pytest.mark.parametrize("name", ["redi", "topr", "grpo"])
def test_verl_lowers_our_step_in_micro_batches(tmp_path, name):
    folder = exported(tmp_path, "verl", recipe_of({"name": name}))
    registries, stubs = verl_stub()
    own, other = answers()
    mask = padded([torch.ones(count) for count in COUNTS])
    scores = torch.zeros(4, 4)
    scores[range(4), [count - 1 for count in COUNTS]] = torch.tensor(REWARDS)
    with modules_of(folder, "loss", **stubs):
        advantages, returns = registries["adv"]["redistill"](scores, mask, index=GROUPS, config=None)
        assert torch.equal(advantages, returns) and torch.equal(advantages != 0, mask.bool())
        config = ActorConfig(
            {"dp_size": 1, "batch_num_tokens": sum(COUNTS), "global_batch_size": 4, "loss_scale_factor": None}
        )
        loss = 0.0
        for here in (slice(0, 1), slice(1, 4)):  # the pair of a problem is parted
            part, figures = registries["loss"]["redistill"](
                padded(other)[here], padded(own)[here], advantages.double()[here], mask[here], "", config, None
            )
            loss = loss + part
            assert figures == {"actor/answers_trained": 1.0}
    for theirs, ours in zip(torch.autograd.grad(loss, own), our_step(OBJECTIVES[name], own, other), strict=True):
        assert torch.allclose(theirs, ours, rtol=0, atol=1e-6)  # verl's advantages are single precision


def test_verls_files_are_its_own_columns_and_settings(tmp_path):
    modifier = {"name": "kl", "beta": 0.02}
    recipe = recipe_of({"name": "grpo", "clip_high": 0.28}, prompt="x{problem}", modifiers=[modifier], updates=2)
    folder = exported(tmp_path, "verl", recipe)
    rows, dev = (pq.read_table(folder / f"{name}.parquet").to_pylist() for name in ("train", "dev"))
    assert len(rows) + len(dev) == len(PROBLEMS) and dev
    tokenizer = loading.load_tokenizer(recipe.student)
    for row in rows:
        problem = json.loads(row["extra_info"]["problem"])
        (message,) = row["prompt"]
        tokenizer.chat_template = "{% for message in messages %}{{ message.content }}{% endfor %}"
        given = tokenizer.apply_chat_template([message], add_generation_prompt=True, tokenize=True, return_dict=True)
        text = "x" + problem["statement"]
        assert given["input_ids"] == loading.encode_prompts(tokenizer, [text])[0]
        assert (
            row["reward_model"] == {"style": "rule", "ground_truth": problem["answer"]} and row["data_source"] == "sums"
        )
    script = folder / "run.sh"
    assert script.stat().st_mode & stat.S_IXUSR
    fake = tmp_path / "bin" / "python3"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$VERL_USE_EXTERNAL_MODULES" "$PYTHONPATH" "$@"\n')
    fake.chmod(0o755)
    environment = {"PATH": f"{fake.parent}:/usr/bin:/bin"}
    done = subprocess.run([script, "trainer.nnodes=2"], env=environment, capture_output=True, text=True, check=True)
    modules, path, *words = done.stdout.splitlines()
    assert (modules, path) == ("loss", str(folder)) and words[-1] == "trainer.nnodes=2"
    settings = dict(word.split("=", 1) for word in words[2:])
    assert (
        settings["algorithm.adv_estimator"] == settings["actor_rollout_ref.actor.policy_loss.loss_mode"] == "redistill"
    )
    assert (
        settings["data.train_files"] == f"'{folder}/train.parquet'" and settings["actor_rollout_ref.rollout.n"] == "4"
    )
    assert settings["actor_rollout_ref.model.custom_chat_template"] == "'" + tokenizer.chat_template + "'"
    assert settings["actor_rollout_ref.actor.kl_loss_coef"] == "0.02" and settings["data.train_batch_size"] == "4"
    assert settings["actor_rollout_ref.actor.kl_loss_type"] == "low_var_kl"
    assert settings["actor_rollout_ref.actor.ppo_mini_batch_size"] == "2"
    assert settings["trainer.logger"] == '["console"]' and settings["reward.reward_manager.name"] == "RedistillRewards"


def test_verls_reward_manager_says_nan_where_nobody_can_say(tmp_path):
    import asyncio

    folder = exported(tmp_path, "verl", recipe_of())
    _, stubs = verl_stub()
    tokenizer = loading.load_tokenizer(recipe_of().student)
    ids = tokenizer("2+2=#4", add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]

    class Batch:
        def __init__(self, problem):
            self.batch = {
                "responses": torch.tensor([*ids, 0, 0]),
                "attention_mask": torch.tensor([1, 1, *[1] * len(ids), 0, 0]),
            }
            self.non_tensor_batch = {"extra_info": {"problem": json.dumps(problem)}}

        def __getitem__(self, place):
            return self

    asked = []

    def rewards(rows):
        asked.extend(rows)
        return [None if row["problem"].get("answer") is None else 0.5 for row in rows]

    async def both(manager):
        return [await manager.run_single(Batch({"statement": "2+2=", **more})) for more in ({"answer": "4"}, {})]

    with modules_of(folder, "reward", **stubs) as (module,):
        module.rewards = rewards
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        known, unknown = loop.run_until_complete(both(module.RedistillRewards(None, tokenizer, None)))
        loop.close()
    assert known == {"reward_score": 0.5, "reward_extra_info": {"undecided": 0.0}}
    assert unknown["reward_score"] != unknown["reward_score"] and unknown["reward_extra_info"] == {"undecided": 1.0}
    assert (
        asked[0]["completion"] == "2+2=#4"
        and asked[0]["finish_reason"] == "stop"
        and asked[0]["num_tokens"] == len(ids)
    )


# --- prime-rl ---------------------------------------------------------------------------------------------------------


@dataclass
class LossInputs:
    """As in prime-rl 0.8, trainer/rl/loss.py."""

    trainer_logprobs: torch.Tensor
    inference_logprobs: torch.Tensor
    ref_logprobs: torch.Tensor | None
    advantages: torch.Tensor
    loss_mask: torch.Tensor
    loss_weights: torch.Tensor | None = None


@dataclass
class LossOutputs:
    loss: torch.Tensor
    metrics: dict[str, torch.Tensor]


def prime_stub():
    loss = types.ModuleType("prime_rl.trainer.rl.loss")
    loss.LossInputs, loss.LossOutputs = LossInputs, LossOutputs
    packages = {name: types.ModuleType(name) for name in ("prime_rl", "prime_rl.trainer", "prime_rl.trainer.rl")}
    return {name.replace(".", "__"): module for name, module in {**packages, loss.__name__: loss}.items()}


@pytest.mark.parametrize("name", ["redi", "topr"])
def test_prime_rl_lowers_our_step_but_for_a_constant(tmp_path, name):
    folder = exported(tmp_path, "prime-rl", recipe_of({"name": name}))
    own, other = answers(1)
    with modules_of(folder / "redistill_taskset", "loss", **prime_stub()) as (module,):
        loss = 0.0
        for n, count in enumerate(COUNTS):
            # two prompt tokens before each answer, masked; its advantage is the reward minus the group's mean
            whole = torch.cat([torch.zeros(2, **DOUBLE), own[n]])
            given = LossInputs(
                whole, torch.cat([torch.zeros(2, **DOUBLE), other[n]]), None, torch.full((count + 2,), REWARDS[n] - 0.5, **DOUBLE),
                torch.tensor([False] * 2 + [True] * count),
            )  # fmt: skip
            loss = loss + module.policy_loss(given, scale=3.0).loss
    # of n = 2 answers a pair weighs 1/n; the step has two pairs, by which ours divides
    for theirs, ours in zip(torch.autograd.grad(loss, own), our_step(OBJECTIVES[name], own, other), strict=True):
        assert torch.allclose(theirs, ours * 3.0 * 2 / 2, rtol=0, atol=1e-12)


def test_prime_rls_files_are_a_package_and_a_configuration(tmp_path):
    recipe = recipe_of({"name": "redi"}, updates=2)
    folder = exported(tmp_path, "prime-rl", recipe)
    settings = tomllib.loads((folder / "rl.toml").read_text())
    assert settings["max_steps"] == 6 and settings["orchestrator"]["batch_size"] == 8
    assert settings["model"]["name"] == str(tmp_path / "run" / "train" / "sft" / "model")
    assert settings["trainer"]["loss"]["import_path"] == "redistill_taskset.loss.policy_loss"
    assert settings["trainer"]["optim"]["lr"] == 1e-3
    package = folder / "redistill_taskset"
    assert tomllib.loads((folder / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {"__init__.py", "loss.py", "prompts.parquet", "reward.py", "recipe.yaml"} == {
        p.name for p in package.iterdir()
    }
    compile((package / "__init__.py").read_text(), "taskset", "exec")


# --- tinker -----------------------------------------------------------------------------------------------------------


class Done:
    def __init__(self, value):
        self.value = value

    def result(self):
        return self.value


class Hosted:
    """Plays tinker's service: samples answers by turns, and takes the gradient of the loss on made-up log-probs."""

    def __init__(self, tokenizer, texts):
        self.tokenizer, self.texts, self.steps, self.rates = tokenizer, texts, [], []

    def create_lora_training_client(self, base_model, rank, seed):
        self.base = (base_model, rank, seed)
        return self

    def create_sampling_client(self, base_model):
        return self

    def get_tokenizer(self):
        return self.tokenizer

    def save_weights_and_get_sampling_client(self):
        return self

    def sample(self, prompt, num_samples, sampling_params):
        assert sampling_params.max_tokens == 6 and sampling_params.stop == [self.tokenizer.eos_token_id]
        sequences = []
        for place in range(num_samples):
            ids = self.tokenizer(self.texts[place], add_special_tokens=False)["input_ids"] + [
                self.tokenizer.eos_token_id
            ]
            sequences.append(types.SimpleNamespace(tokens=ids, logprobs=[-0.5] * len(ids)))
        return Done(types.SimpleNamespace(sequences=sequences))

    def compute_logprobs(self, prompt):
        return Done([None, *[-0.25] * (len(prompt.ids) - 1)])

    def forward_backward_custom(self, data, loss):
        logps = [torch.linspace(-1, -0.1, len(d.model_input.ids)).requires_grad_(True) for d in data]
        value, figures = loss(data, logps)
        value.backward()
        self.steps.append([(d, values.grad) for d, values in zip(data, logps, strict=True)])
        return Done(types.SimpleNamespace(metrics=figures))

    def optim_step(self, params):
        self.rates.append(params.learning_rate)
        return Done(None)

    def save_state(self, name):
        return Done(types.SimpleNamespace(path=f"tinker://{name}"))


class ModelInput(types.SimpleNamespace):
    @classmethod
    def from_ints(cls, ids):
        return cls(ids=list(ids))


def tinker_stub():
    kinds = types.ModuleType("tinker.types")
    kinds.ModelInput = ModelInput
    for name in ("Datum", "TensorData", "SamplingParams", "AdamParams"):
        setattr(kinds, name, type(name, (types.SimpleNamespace,), {}))
    tinker = types.ModuleType("tinker")
    tinker.types = kinds
    return {"tinker": tinker, "tinker__types": kinds}


@pytest.mark.parametrize("name", ["redi", "dpo", "grpo", "sft"])
def test_tinker_draws_rounds_and_lowers_our_objective(tmp_path, name, capsys):
    recipe = recipe_of({"name": name}, problems=2, rounds=2, updates=2, advantage="mean")
    folder = exported(tmp_path, "tinker", recipe)
    tokenizer = loading.load_tokenizer(recipe.student)
    service = Hosted(tokenizer, ["1#11", "2#2", "3", "44"])
    with modules_of(folder, "reward", "loss", "train", **tinker_stub()) as (reward, _, train):
        reward.rewards = lambda rows: [
            {"1#11": 1.0, "2#2": 0.0, "3": None, "44": 0.0}[row["completion"]] for row in rows
        ]
        assert train.main(service, model="m", rank="8") == "tinker://student"
    assert service.base == ("m", 8, 0) and "round 2 update 2" in capsys.readouterr().out
    assert service.rates == pytest.approx([1e-3, 1e-3 * 3 / 4, 1e-3 * 2 / 4, 1e-3 / 4])
    (first, gradient), *others = service.steps[0]
    # right "1#11" first: prompts are masked, position i predicts token i + 1
    ids = first.loss_fn_inputs["target_tokens"].data
    end = tokenizer.eos_token_id
    assert (
        ids[-5:] == tokenizer("1#11", add_special_tokens=False)["input_ids"] + [end] and gradient[:-5].abs().max() == 0
    )
    texts = [tokenizer.decode(d.loss_fn_inputs["target_tokens"].data, skip_special_tokens=True) for d, _ in others]
    if name == "redi":
        assert gradient[-5:].tolist() == pytest.approx([-1 / 5] * 5) and others[0][1][-4:].tolist() == pytest.approx(
            [0.2] * 4
        )
        assert [text[-3:] for text in texts] == ["2#2"]
    elif name == "sft":
        assert not others and gradient[-5:].tolist() == pytest.approx([-1 / 5] * 5)
    elif (
        name == "grpo"
    ):  # the answer that nobody could judge is not a row; A = 1 - 1/3, ratio clipped or not by its own log-probs
        assert len(others) == 2
    else:
        assert len(others) == 1 and gradient[-5:].max() < 0 < others[0][1][-4:].min()


def test_tinker_hosts_no_folder_of_ours(tmp_path):
    folder = exported(tmp_path, "tinker", recipe_of({"name": "redi"}))
    with (
        modules_of(folder, "reward", "loss", "train", **tinker_stub()) as (*_, train),
        pytest.raises(SystemExit, match="model=NAME"),
    ):
        train.main(None)
    assert "train a model of tinker's" in (folder / "README.md").read_text()


# --- TRL, and what all have in common ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("objective", "more", "settings"),
    [
        ("grpo", {}, {"loss_type": "grpo", "scale_rewards": "group", "beta": 0.0, "epsilon": 0.2, "epsilon_high": 0.2}),
        ({"name": "grpo", "per": "token", "clip_high": 0.28}, {"advantage": "mean"},
         {"loss_type": "dapo", "scale_rewards": "none", "epsilon_high": 0.28}),
        ({"name": "grpo", "ratio": "sequence"}, {}, {"importance_sampling_level": "sequence"}),
        ({"name": "grpo", "per": "constant", "length": 6}, {}, {"loss_type": "dr_grpo"}),
        ({"name": "grpo", "surrogate": "cispo", "per": "token", "clip_low": 1.0, "clip_high": 4.0}, {},
         {"loss_type": "cispo", "epsilon_high": 5.0}),
        ("reinforce", {}, {"loss_type": "grpo", "steps_per_generation": 4, "gradient_accumulation_steps": 4}),
        ("grpo", {"updates": 2}, {"steps_per_generation": 4, "gradient_accumulation_steps": 2, "max_steps": 6}),
    ],
)  # fmt: skip
def test_trl_is_told_the_stages_settings_in_its_own_words(tmp_path, objective, more, settings):
    folder = exported(tmp_path, "trl", recipe_of(objective, **more))
    text = (folder / "train.py").read_text()
    said = eval(text.partition("SETTINGS = ")[2].partition("\n\n\n")[0])
    assert {key: said[key] for key in settings} == settings
    assert said["num_generations"] == said["per_device_train_batch_size"] == 4 and said["max_completion_length"] == 6


@pytest.mark.parametrize(
    ("to", "recipe", "said"),
    [
        ("trl", recipe_of({"name": "redi"}), "trl takes no custom loss, and redi is not one of its own; write --loss engine"),
        ("trl", recipe_of(advantage="leave-one-out"), "has no advantage leave-one-out"),
        ("trl", recipe_of({"name": "grpo", "per": "constant", "length": 99}), r"divides by max_new_tokens \(6\)"),
        ("trl", recipe_of({"name": "grpo", "surrogate": "cispo"}), "takes cispo by token"),
        ("trl", recipe_of("reinforce", updates=2), "clips ratios in rounds of several updates"),
        ("trl", recipe_of(n=1), "ask for 2 or more"),
        ("verl", recipe_of({"name": "dpo"}), "dpo compares the two answers of a pair"),
        ("verl", recipe_of({"name": "nca"}), "no log-probs of a reference model, which nca needs"),
        ("verl", recipe_of(updates=8), "verl parts a round by problems"),
        ("prime-rl", recipe_of({"name": "sft"}), "from which sft learns"),
        ("prime-rl", recipe_of(), "has the advantage `mean` where the stage has `group`"),
        ("prime-rl", recipe_of({"name": "redi"}, top_p=0.9), "samples with top_p 1 alone"),
        ("tinker", recipe_of(modifiers=["kl"]), "tinker has no modifier kl"),
        ("verls", recipe_of(), "there is no engine 'verls'; did you mean 'verl'"),
    ],
)  # fmt: skip
def test_what_an_engine_cannot_do_is_one_sentence_and_leaves_nothing(tmp_path, to, recipe, said):
    with pytest.raises(OperatorError, match=said):
        exported(tmp_path, to, recipe)
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_the_engines_own_loss_is_taken_where_it_is_asked_for(tmp_path):
    folder = exported(tmp_path, "trl", recipe_of({"name": "redi"}), loss="engine")
    assert "loss_type" not in (folder / "train.py").read_text()
    assert "TRL's default, not the stage's objective `redi`" in (folder / "README.md").read_text()


def test_what_a_run_does_not_have_is_one_sentence(tmp_path, capsys):
    with pytest.raises(OperatorError, match=r"is not a run: it has no recipe.yaml"):
        api.export(tmp_path, to="trl", out=tmp_path / "out")
    run = run_of(tmp_path / "run", recipe_of())
    (tmp_path / "there").mkdir()
    for out, stage, said in (("there", None, "already exists"), ("out", "nothing", "no stage is called 'nothing'")):
        with pytest.raises(SystemExit):
            more = [] if stage is None else ["--stage", stage]
            main(["export", str(run), "--to", "trl", "-o", str(tmp_path / out), *more])
        assert said in capsys.readouterr().err
    pictures = make_problem("what?", answer="1", images=(Image("a.png", "0" * 64),))
    with pytest.raises(OperatorError, match="has images; only problems of text are exported"):
        exported(tmp_path / "b", "trl", recipe_of(), [*PROBLEMS, pictures])
    with pytest.raises(OperatorError, match="no problem is left to export"):
        exported(tmp_path / "c", "trl", recipe_of(), [make_problem("what?")])


def test_the_verb_says_where_the_files_are_and_code_of_ones_own_goes_along(tmp_path, capsys):
    own = tmp_path / "my_verdict.py"
    own.write_text(
        "from redistill.records import Outcome, Verdict\n\n\n"
        "def even(problem, trace):\n    return Verdict(Outcome.correct if len(trace.completion) % 2 == 0 else Outcome.incorrect)\n"
    )
    run = run_of(tmp_path / "run", recipe_of(verifier="my_verdict:even"))
    main(["export", str(run), "--to", "trl", "-o", str(tmp_path / "out"), "--code", str(own)])
    said = capsys.readouterr().out
    assert str(tmp_path / "out" / "README.md") in said and (tmp_path / "out" / "my_verdict.py").exists()
    assert "CODE = ['my_verdict.py']" in (tmp_path / "out" / "reward.py").read_text()


def test_a_student_that_no_folder_names_is_written_beside(tmp_path):
    folder = exported(tmp_path, "trl", recipe_of(start="base"))
    assert (folder / "model" / "model.safetensors").exists() and 'MODEL = str(HERE / "model")' in (
        folder / "train.py"
    ).read_text()

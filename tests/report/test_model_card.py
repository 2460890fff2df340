"""The model card: what the run's files say, in a header that the hub's own library reads, without anybody's paths."""

import json

import pytest
import yaml
from huggingface_hub import ModelCard

from redistill.config.parsing import parse_recipe
from redistill.report.model_card import base_license, card

TREE = {
    "name": "x",
    "student": {"model": "org/Base-1B"},
    "corpus": {"sources": [{"name": "traces", "path": "/home/somebody/secret/mine.jsonl"}, {"name": "openthoughts", "path": "org/data:train-*"}]},
    "train": {
        "sft": {"objective": "sft", "learning_rate": 1e-5},
        "redi": {"objective": {"name": "redi", "rejected_weight": 0.8}, "start": "sft", "learning_rate": 1e-6},
    },
    "evaluate": {"benchmarks": ["dev", {"name": "math-500"}], "engine": {"name": "openai", "base_url": "http://inner.host/v1", "model": "{student}"}},
    "card": {"data_licenses": ["mine.jsonl: our own, CC BY 4.0"], "notes": "Speaks English only."},
}  # fmt: skip
INPUTS = {"/home/somebody/secret/mine.jsonl": "ab12"}


def scores(value):
    """As evaluate writes them, the fields that the card reads."""
    one = {
        "value": value,
        "interval95": [value - 0.1, value + 0.1],
        "sem_over_sample_columns": None,
        "sem_over_problems": 0.05,
    }
    return {"num_samples": 4, "num_problems": 50, "pass_at_1": one, "settings": {"temperature": 0.6, "top_p": 0.95}}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    def put(name, value):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps(value))

    account = {"unit": "row", "in": 1200, "kept": 1000, "dropped": {"too_long": 200}}
    put("corpus/ledger.json", {"accounts": {"rows": account}})
    put("verify/ledger.json", {"tallies": {"outcomes": {"incorrect": 300, "correct": 700}}})
    put("select/ledger.json", {"files": {"pairs/part-00000.parquet": {"sha256": "cd34"}}})
    put("train/redi/ledger.json", {"steps": 31, "accounts": {"rows": account}, "guard": None})
    for student, value in (("base", 0.1), ("sft", 0.3), ("redi", 0.55)):
        put(f"evaluate/{student}/dev/scores.json", scores(value))
    put("evaluate/redi/math-500/scores.json", scores(0.4))
    claim = {"a": "redi", "b": "sft", "benchmark": "dev", "sentence": "redi is above sft by 0.250."}
    put("evaluate/comparisons.json", [claim, {**claim, "a": "sft", "b": "base", "sentence": "not of this student"}])
    return tmp_path


def test_the_header_is_what_the_hubs_own_library_reads(folder):
    found = ModelCard(
        card(
            folder,
            parse_recipe(TREE, "x"),
            "redi",
            "pairs",
            INPUTS,
            base_on_hub=True,
            hubs={"math-500": "HuggingFaceH4/MATH-500"},
        )
    ).data
    assert (found.library_name, found.pipeline_tag, found.base_model) == (
        "transformers",
        "text-generation",
        "org/Base-1B",
    )
    assert found.datasets == ["org/data"] and found.license is None  # the base's own licence is not known here
    results = {r.dataset_name: (r.dataset_type, r.metric_type, r.metric_value) for r in found.eval_results}
    assert results == {
        "dev (held out of the training problems)": ("dev", "pass@1", 0.55),
        "math-500": ("HuggingFaceH4/MATH-500", "pass@1", 0.4),
    }


def test_the_card_says_data_verdicts_scores_and_how_to_do_it_again(folder):
    text = card(folder, parse_recipe(TREE, "x"), "redi", "pairs", INPUTS)
    for words in (
        "`redi` (rejected_weight=0.8)",
        "1,000 of 1,200 pairs (200 too_long)",
        "| dev | **redi** | 55.0 | 45.0 to 65.0 | - | 5.00 | 4 samples on 50 problems, T 0.6, top-p 0.95 |",
        "| dev | base | 10.0 |",
        "- dev: redi is above sft by 0.250.",
        "`mine.jsonl` sha256 `ab12`",
        "`select/pairs/part-00000.parquet` sha256 `cd34`",
        "mine.jsonl: our own, CC BY 4.0",
        "policy `agree`",
        "700 correct, 300 incorrect",
        "Speaks English only.",
        "redistill run recipe.yaml",
    ):
        assert words in text, words
    assert "not of this student" not in text


def test_the_control_stands_beside_the_student_that_starts_where_it_does(folder):
    control = {"objective": {"name": "redi", "rejected_weight": 0.0}, "start": "sft", "learning_rate": 1e-6}
    other = {"objective": "sft", "start": "redi", "learning_rate": 1e-6}  # starts elsewhere: not in the table
    for name, value in (("control", 0.35), ("later", 0.9)):
        (folder / f"evaluate/{name}/dev").mkdir(parents=True)
        (folder / f"evaluate/{name}/dev/scores.json").write_text(json.dumps(scores(value)))
    recipe = parse_recipe({**TREE, "train": {**TREE["train"], "control": control, "later": other}}, "x")
    rows = [line for line in card(folder, recipe, "redi", "pairs", INPUTS).splitlines() if line.startswith("| dev |")]
    assert [row.split(" | ")[1:3] for row in rows] == [
        ["base", "10.0"],
        ["sft", "30.0"],
        ["control", "35.0"],
        ["**redi**", "55.0"],
    ]


def test_nobodys_folders_and_servers_are_on_the_card(folder):
    text = card(folder, parse_recipe(TREE, "x"), "redi", "pairs", INPUTS)
    assert "somebody" not in text and "inner.host" not in text and str(folder) not in text


def test_the_recipe_on_the_card_is_a_recipe(folder):
    text = card(folder, parse_recipe(TREE, "x"), "redi", "pairs", INPUTS)
    tree = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    again = parse_recipe(tree, "card")
    assert again.train == parse_recipe(TREE, "x").train and again.corpus.sources[0].options["path"] == "mine.jsonl"


def test_without_scores_the_card_says_so(tmp_path):
    text = card(tmp_path, parse_recipe(TREE, "x"), "sft", "examples", {})
    assert "not been scored" in text and ModelCard(text).data.eval_results is None


def test_the_licence_is_the_bases_own_unless_the_recipe_names_one(tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n# base\n")
    tree = {**TREE, "student": {"model": str(tmp_path)}}
    assert base_license(parse_recipe(tree, "x")) == "mit"
    assert ModelCard(card(tmp_path / "run", parse_recipe(tree, "x"), "sft", "examples", {})).data.license == "mit"
    named = parse_recipe({**tree, "card": {"license": "apache-2.0"}}, "x")
    assert ModelCard(card(tmp_path / "run", named, "sft", "examples", {})).data.license == "apache-2.0"
    for broken in ("no header", "---\nlicense: [a, b]\n---\n", "---\n: : :\n---\n"):
        (tmp_path / "README.md").write_text(broken)
        assert base_license(parse_recipe(tree, "x")) is None


def test_the_card_says_with_which_prompt_the_student_was_taught_and_asked(folder):
    tree = {**TREE, "prompt": {"chat": True, "train": {"template": "a|{problem}"}, "evaluate": {"template": "paper"}}}
    tree["evaluate"] = {**TREE["evaluate"], "prefill": "<think>\n"}
    text = card(folder, parse_recipe(tree, "x"), "redi", "pairs", INPUTS)
    assert "| prompt | template a\\|{problem}, in the chat template |" in text
    assert "Prompt: template paper, in the chat template, every answer prefilled with `'<think>\\n'`." in text
    assert "| prompt | template plain |" in card(folder, parse_recipe(TREE, "x"), "redi", "pairs", INPUTS)


def test_a_stage_on_its_own_answers_says_rounds_answers_reward_and_objective(folder):
    own = {
        "problems": 16, "n": 8, "rounds": 60, "updates": 2, "max_new_tokens": 96,
        "reward": ["accuracy", {"name": "length", "each": -0.01, "weight": 0.5}],
        "advantage": "teacher", "teacher": {"model": "/home/somebody/secret/big"},
    }  # fmt: skip
    stage = {"objective": "reinforce", "start": "sft", "learning_rate": 1e-4, "rollouts": own}
    recipe = parse_recipe({**TREE, "train": {**TREE["train"], "own": stage}}, "x")
    account = {"unit": "answer", "in": 7680, "kept": 7660, "dropped": {"undecided": 20}}
    (folder / "train/own/rollouts").mkdir(parents=True)
    (folder / "train/own/ledger.json").write_text(
        json.dumps({"steps": 120, "accounts": {"rows": account}, "guard": None})
    )
    tallies = {"tallies": {"outcomes": {"incorrect": 900, "correct": 6780}}}
    (folder / "train/own/rollouts/ledger.json").write_text(json.dumps(tallies))
    text = card(folder, recipe, "own", "rollouts", INPUTS)
    for words in (
        "on its own answers, sampled and judged while it trained",
        "| own answers | 60 rounds of 16 training problems, 8 answers each, T 1, top-p 1, at most 96 tokens |",
        "| judged by | `cascade` |",
        "| reward | `accuracy`, `length` (each=-0.01) x 0.5; an answer whose reward is unknown is left out |",
        "| teacher | log-probs of `big`, token by token |",
        "| outcomes of its answers | 6,780 correct, 900 incorrect |",
        "| rows | 7,660 of 7,680 sampled answers (20 undecided) |",
        "0.0001, 2 steps per round, 120 steps",
        "| objective | `reinforce` |",
    ):
        assert words in text, words
    assert "somebody" not in text and "traces of a teacher.\n" not in text
    again = parse_recipe(yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0]), "card")
    assert again.train["own"].rollouts.reward == recipe.train["own"].rollouts.reward


def test_a_card_says_who_taught_and_neither_paths_nor_addresses(folder):
    routed = {
        "a": {"base_url": "http://10.1.2.3:8000/v1", "model": "/home/somebody/big"},
        "b": {"self": "now", "context": "right-trace"},
    }
    own = {"problems": 16, "advantage": "teacher", "teacher": {"by_source": routed}}
    stages = {
        "own": {"objective": "reinforce", "start": "sft", "learning_rate": 1e-4, "rollouts": own},
        "distil": {
            "objective": "distill",
            "start": "sft",
            "learning_rate": 1e-4,
            "teacher": {"model": "/home/somebody/large"},
        },
    }
    recipe = parse_recipe({**TREE, "train": {**TREE["train"], **stages}}, "x")
    text = card(folder, recipe, "own", "rollouts", INPUTS)
    assert "log-probs of `big` on a server for a; the student itself (now) that is shown a right answer for b" in text
    assert "somebody" not in text and "10.1.2.3" not in text and "model: large" in text

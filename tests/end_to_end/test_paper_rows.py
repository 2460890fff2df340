"""The shipped recipe of the paper chooses the paper's rows: its rule, written here again from its description, on a made file
of 600 rows with every odd case, compared row by row.

The rule (Xu et al. 2025, section 4, and the authors' preprocessing): valid problems, not of cn_k12, both lists of labels there;
right is what Llama and the reparsed Math-Verify both call true, and nothing else is; D_SFT takes the first right generation,
a pair the first right and the first other one, of at most 800 tokens of prompt and 19,000 of either side; an SFT row has at
most 32,768. Whether a generation is flagged as complete is not looked at.
"""

import json
import random
import string
from collections import Counter

import pytest
from transformers import AutoConfig

from redistill.config.parsing import load_recipe
from redistill.io.parquet import read_records
from redistill.model import loading
from redistill.pipeline.run import run
from redistill.train.rows import read_rows, write_rows

RECIPE = "qwen2.5-math-1.5b-openr1"
CHAT = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<eos>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
AROUND = (
    len("<user>") + 1 + len("<assistant>")
)  # tokens of the template around a question: a character is one, <eos> is one
END = 1  # of a completion


# --- the made file -----------------------------------------------------------------------------------------------------


def generation(draw, number, length=None):
    """A trace of a problem; `length`: in tokens, its end included."""
    text = f"<think>{number} {''.join(draw.choices(string.ascii_lowercase, k=12))}</think>\n\\boxed{{{number}}}"
    return text if length is None else text + "." * (length - END - len(text))


def made_row(draw, number):
    """A row in the columns of OpenR1-Math-Raw, with each of its oddities now and then."""
    count = draw.choices([1, 2, 3, 5], [2, 5, 3, 1])[0]
    label = [True, True, False, None]
    lists = {name: draw.choices(label, k=count) for name in ("llama_verification", "math_verify_reparsed_answer")}
    generations = [generation(draw, number) for _ in range(count)]
    row = {
        "problem": f"Problem {number}: {' '.join(draw.choices(string.ascii_lowercase, k=30))}?",
        "answer": str(number),
        "problem_is_valid": draw.choices(["Yes", " yes", "YES", "No", "Incomplete", "", None], [20, 1, 1, 1, 1, 1, 1])[
            0
        ],
        "source": draw.choices(["olympiads", "aops_forum", "cn_k12"], [6, 3, 1])[0],
        "generations": generations,
        "is_reasoning_complete": draw.choices([True, False, None], [3, 2, 1], k=count),
        "correctness": {**lists, "math_verify": draw.choices([True, False], k=count)},
    }
    odd = draw.random()
    if odd < 0.03:
        row["correctness"]["math_verify_reparsed_answer"] = None  # the plain list is there, and takes no null's place
    elif odd < 0.06:
        row["correctness"]["llama_verification"] = None
    elif odd < 0.08:
        row["correctness"] = None
    elif odd < 0.10:
        row["correctness"]["llama_verification"] = [True] * (count + 1)
    elif odd < 0.12:
        row["generations"] = draw.choice([[], None])
    elif odd < 0.14:
        row["is_reasoning_complete"] = None
    elif odd < 0.16 and count > 1:
        generations[1] = generations[0]  # a tie: one text twice
    elif odd < 0.18 and count > 1:
        generations[draw.randrange(count)] = ""
    elif odd < 0.20:
        row["is_reasoning_complete"] = [True] * (count + 1)
    elif odd < 0.21:
        row["problem"] = ""
    return row


def at_the_limits(draw):
    """Rows whose first right generation is flagged as incomplete, with each length at its limit and one beyond."""
    sizes = [
        (prompt, chosen, rejected)
        for prompt, chosen, rejected in [(40, 99, 99), (800, 19000, 19000), (801, 99, 99), (800, 19001, 99), (800, 99, 19001),
                                         (800, 32768 - 800, 99), (800, 32768 - 799, 99), (900, 19001, 19001)]
    ]  # fmt: skip
    for number, (prompt, chosen, rejected) in enumerate(sizes, 9000):
        statement = f"Limits {number}: {' '.join(draw.choices(string.ascii_lowercase, k=9))} "
        yield {
            "problem": statement + "x" * (prompt - AROUND - len(statement)),
            "answer": str(number),
            "problem_is_valid": "Yes",
            "source": "olympiads",
            "generations": [
                generation(draw, number, rejected),
                generation(draw, number, chosen),
                generation(draw, number),
            ],
            "is_reasoning_complete": [True, False, True],
            "correctness": {
                "llama_verification": [None, True, True],
                "math_verify": [True, False, True],
                "math_verify_reparsed_answer": [True, True, True],
            },
        }


@pytest.fixture(scope="module")
def rows():
    draw = random.Random(13)
    limits = list(at_the_limits(draw))
    made = [made_row(draw, number) for number in range(600 - len(limits) - 3)]
    twice = [{**row, "source": "other"} for row in draw.sample(made, 3)]  # a problem that is told in two rows
    found = [*made, *twice, *limits]
    draw.shuffle(found)
    return found


# --- the rule, again ---------------------------------------------------------------------------------------------------


def official(row):
    """(text of the SFT row or None, (chosen, rejected) or None)."""
    if str(row["problem_is_valid"]).strip().lower() != "yes" or row["source"] == "cn_k12":
        return None, None
    texts, labels = row["generations"] or [], row["correctness"] or {}
    judge, parser = labels.get("llama_verification"), labels.get("math_verify_reparsed_answer")
    if (
        not row["problem"]
        or not texts
        or judge is None
        or parser is None
        or not len(judge) == len(parser) == len(texts)
    ):
        return None, None
    right = [text for text, one, other in zip(texts, judge, parser) if one and other]
    wrong = [text for text, one, other in zip(texts, judge, parser) if not (one and other)]
    prompt = len(row["problem"]) + AROUND
    sft = right[0] if right and prompt + len(right[0]) + END <= 32_768 else None
    fits = right and wrong and prompt <= 800 and max(len(right[0]), len(wrong[0])) + END <= 19_000
    return sft, (right[0], wrong[0]) if fits else None


def explanation(row, rows):
    """Why this package may choose otherwise, each a stated rule of its corpus; "" where nothing excuses a difference."""
    texts, labels = row["generations"] or [], row["correctness"] or {}
    if sum(other["problem"] == row["problem"] for other in rows) > 1:
        return "a problem duplicated is one problem"
    if "" in texts:
        return "an empty generation is not a trace"
    if row["is_reasoning_complete"] is not None and len(row["is_reasoning_complete"]) != len(texts):
        return "a row whose lists do not match is damaged"
    judge, parser = (labels.get(name) or [] for name in ("llama_verification", "math_verify_reparsed_answer"))
    said = dict[str, set[tuple]]()
    for text, *verdicts in zip(texts, judge, parser):
        said.setdefault(text, set()).add(tuple(verdicts))
    return "one text of two verdicts is disputed" if any(len(verdicts) > 1 for verdicts in said.values()) else ""


# --- the comparison ----------------------------------------------------------------------------------------------------


def choose(rows, folder, *changes):
    """{problem: (SFT text or None, pair or None)} by the shipped recipe; the prompts are checked on the way."""
    tokenizer = loading.character_tokenizer(string.printable)
    tokenizer.chat_template = CHAT
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "max_position_embeddings": 4096}
    AutoConfig.for_model("llama", vocab_size=len(tokenizer), **sizes).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    (folder / "raw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sets = [f"student.model={folder}/model", f"corpus.sources.0.path={folder}/raw.jsonl", "corpus.dev_fraction=0"]
    recipe = load_recipe(RECIPE, [*sets, "evaluate.benchmarks=[]", *changes])
    made = run(recipe, runs_dir=folder / "runs", until="select") / "select"

    def stream(name):
        return [record for path in sorted((made / name).glob("*.parquet")) for record in read_records(path)]

    examples, pairs = stream("examples"), stream("pairs")
    write_rows(
        folder / "rows",
        examples,
        encode_prompts=lambda texts: loading.encode_prompts(tokenizer, texts),
        encode_completions=lambda texts: loading.encode_completions(tokenizer, texts),
        max_tokens=recipe.train["sft"].max_tokens,
    )
    kept = set(read_rows(folder / "rows")[0].ids)
    found = {row["problem"]: [None, None] for row in rows}
    for record in [*examples, *pairs]:
        problem = record.prompt.removeprefix("<user>").removesuffix("<eos><assistant>")
        assert record.prompt == f"<user>{problem}<eos><assistant>"  # the bare problem, in the chat template
        if record in pairs:
            found[problem][1] = record.chosen, record.rejected
        elif record.trace_id in kept:
            found[problem][0] = record.completion
    return {problem: tuple(both) for problem, both in found.items()}


@pytest.fixture(scope="module")
def chosen(rows, tmp_path_factory):
    return choose(rows, tmp_path_factory.mktemp("paper"))


def test_the_made_file_holds_every_odd_case(rows):
    assert len(rows) == 600
    whole = [row for row in rows if row["correctness"] and row["generations"]]
    labels = [row["correctness"] for row in whole]
    assert sum(one["llama_verification"] is None for one in labels) > 5
    assert sum(one["math_verify_reparsed_answer"] is None for one in labels) > 5
    assert sum(None in (one["math_verify_reparsed_answer"] or []) for one in labels) > 100
    ways = Counter((sft is None, pair is None) for sft, pair in map(official, rows))
    assert (
        ways[False, False] > 100 and ways[False, True] > 30 and ways[True, True] > 100
    )  # both, no wrong one, no right one
    assert ways[True, False] == 0  # what is short enough for a pair is short enough for SFT


def test_0_unexplained_differences_from_the_official_rule(rows, chosen):
    differ = [row for row in rows if official(row) != chosen[row["problem"]]]
    reasons = Counter(explanation(row, rows) for row in differ)
    assert reasons[""] == 0, [row for row in differ if not explanation(row, rows)][:3]
    excused = sum(bool(explanation(row, rows)) for row in rows)
    assert len(reasons) >= 3 and sum(reasons.values()) <= excused < 90  # what may differ is a small part of the file
    assert (
        sum(pair is not None for _, pair in chosen.values()) > 100
        and sum(s is not None for s, _ in chosen.values()) > 150
    )


def test_the_first_right_generation_is_taken_also_where_it_is_flagged_as_incomplete(rows, chosen):
    flagged = 0
    for row in rows:
        sft, _ = chosen[row["problem"]]
        complete = row["is_reasoning_complete"] or []
        if sft is not None and not explanation(row, rows) and sft in row["generations"][: len(complete)]:
            flagged += complete[row["generations"].index(sft)] is False
    assert flagged > 50


@pytest.mark.parametrize("change", ["select.truncated_correct=drop", "select.limits_on=[completion, chosen, rejected]"])
def test_the_recipes_own_words_make_it_so(change, tmp_path):
    """Without one of them the rows are others, so the comparison above does not pass by chance."""
    rows = list(at_the_limits(random.Random(13)))
    found = choose(rows, tmp_path)
    assert all(official(row) == found[row["problem"]] for row in rows)
    other = choose(rows, tmp_path, change, "name=other")
    assert any(official(row) != other[row["problem"]] for row in rows)

"""The scorers of steps as guides of a search: what they say of the last step is what the scorer itself writes there."""

from functools import partial

import pytest
from test_critic import NO, YES, by_program
from test_process import seeded

from redistill.config.tables import PromptText, StudentSettings
from redistill.errors import OperatorError
from redistill.model.loading import load_model, load_tokenizer, save_model
from redistill.model.score_heads import new_critic
from redistill.records import Group, make_problem, make_trace
from redistill.rollout.guided import Opinion
from redistill.score import SCORERS
from redistill.score.guidance import GUIDES, Guide

PROBLEM = make_problem("2+2*3=", answer="8")
BARE = PromptText(template="bare")
TEXTS = ["2*3=6;", "2*3=6;2+6=8;", "2*3=6;2+6=8;#8", "2*3=5;", "", "1" * 80]


def judge_of(name, bound):
    return Guide(GUIDES[name], bound, BARE, 0).judge()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    sizes = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "max_position_embeddings": 64}  # fmt: skip
    settings = StudentSettings(from_config=sizes, alphabet="0123456789+-*=;#")
    tokenizer = load_tokenizer(settings)
    model = load_model(settings, tokenizer, seed=1)
    path = tmp_path_factory.mktemp("prm") / "model"
    save_model(seeded(new_critic(model), 3), tokenizer, path, card="")
    return str(path)


def test_a_head_says_of_the_last_step_what_the_scorer_process_writes_there(folder):
    options = {"model": folder, "steps": "semicolon"}
    judge = judge_of("process", partial(SCORERS["process"], **options))
    said = judge([(PROBLEM, text) for text in TEXTS])
    whole = make_trace(PROBLEM.id, TEXTS[2])
    groups = [Group(PROBLEM, (whole, make_trace(PROBLEM.id, TEXTS[3])))]
    right, wrong = SCORERS["process"](groups, **options, _into="prm", _prompt=BARE, _held={})[0].traces
    expected = [*(span.value for span in right.spans["prm"]), wrong.spans["prm"][-1].value]
    assert [one.value for one in said[:4]] == pytest.approx(expected, abs=1e-6) and max(expected) - min(expected) > 1e-3
    assert said[4:] == [Opinion(None), Opinion(None)]  # empty, and longer than the critic's context
    assert judge([]) == []


def test_a_critic_that_writes_is_asked_of_the_last_step_alone(monkeypatch):
    asked = []
    by_program(monkeypatch, {"2*3=6": [YES, NO], "2+6=8": [YES], "2+6=9": ["hm", "hm", NO, NO], "so 9": ["hm"]}, asked)
    bound = partial(SCORERS["critic"], model="m", read="verdict", analyses=4)
    judge = judge_of("critic", bound)
    said = judge(
        [
            (PROBLEM, text)
            for text in ("2*3=6\n\n", "2*3=6\n\n2+6=8\n\n", "2*3=6\n\n2+6=9", "2*3=6\n\n2+6=9\n\nso 9", " ")
        ]
    )
    # half of the analyses say nothing: undecided, as the scorer has it
    assert said == [Opinion(0.5, 20), Opinion(1.0, 20), Opinion(None, 20), Opinion(None, 20), Opinion(None, 0)]
    assert len(asked) == 4 * 4 and "Previous Steps:\n2*3=6\n\n2+6=9" in asked[-1]


def test_a_missing_marker_is_what_the_option_says(monkeypatch):
    """The paper's search code drops an analysis without a verdict line; the default counts the step as undecided."""
    by_program(monkeypatch, {"2+6=9": ["hm", "hm", "hm", NO]})
    bound = partial(SCORERS["critic"], model="m", read="verdict", analyses=4, no_marker="drop")
    assert judge_of("critic", bound)([(PROBLEM, "2+6=9")]) == [Opinion(0.0, 20)]


def test_a_guide_without_a_model_is_one_sentence():
    judge = judge_of("critic", partial(SCORERS["critic"]))
    with pytest.raises(OperatorError, match=r"evaluate\.engine\.critic.*set `model`"):
        judge([(PROBLEM, "1")])

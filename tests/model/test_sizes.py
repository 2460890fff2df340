"""Sizes that no model can have, in a recipe's `from_config` and `config_edits`."""

import pytest

from redistill.config.tables import StudentSettings
from redistill.errors import OperatorError
from redistill.model.loading import load_config, load_model, load_tokenizer

SMALL = {
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


def student(**sizes):
    return StudentSettings(from_config={**SMALL, **sizes}, alphabet="0123456789")


@pytest.mark.parametrize(
    ("key", "value"),
    [("hidden_size", 0), ("hidden_size", -4), ("hidden_size", 2**40), ("hidden_size", "a"), ("hidden_size", 1.5), ("hidden_size", True),
     ("num_hidden_layers", 0), ("num_hidden_layers", 10**9), ("num_attention_heads", 0), ("max_position_embeddings", -1)],
)  # fmt: skip
def test_a_size_that_no_model_has_is_a_sentence_that_names_it(key, value):
    with pytest.raises(
        OperatorError, match=rf"^student\.from_config: {key} is {value!r}; write a whole number from 1 to"
    ):
        load_config(student(**{key: value}))
    with pytest.raises(OperatorError, match=rf"^student\.config_edits.*{key}"):
        load_config(StudentSettings(from_config=SMALL, alphabet="01", config_edits={key: value}))


def test_more_weights_than_memory_are_a_sentence_before_any_is_made():
    huge = student(intermediate_size=2 * 10**9)  # three matrices of 16 x 2e9
    with pytest.raises(
        OperatorError, match=r"^student\.from_config describes 96,000,00\d,\d{3} weights, 358 GiB in fp32"
    ):
        load_model(huge, load_tokenizer(huge), seed=0)

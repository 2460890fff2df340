"""Critics: a head of zeros says nothing, packing changes no score, and a score is read at the token itself."""

import pytest
import torch
from transformers import AutoModelForTokenClassification

from redistill.config.tables import StudentSettings
from redistill.errors import OperatorError
from redistill.model import loading
from redistill.model.logps import make_pack
from redistill.model.score_heads import PackedScores, check_same_tokens, load_critic, new_critic, prepare_scores

ALPHABET = "0123456789+-*=;#"
SHAPE = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
}
LONG, SHORT = [3, 9, 4, 4, 17, 6, 8], [5, 3, 12, 6]


def student(kind="llama", alphabet=ALPHABET, **changes):
    settings = StudentSettings(from_config={"model_type": kind, **SHAPE, **changes}, alphabet=alphabet)
    tokenizer = loading.load_tokenizer(settings)
    return loading.load_model(settings, tokenizer, seed=0), tokenizer


def critic(kind="llama", **changes):
    """A critic whose head has been drawn, so that its scores differ."""
    model = new_critic(student(kind, **changes)[0])
    torch.manual_seed(1)
    with torch.no_grad():
        model.score.weight.normal_()
        model.score.bias.fill_(0.3)
    return model.eval()


def scores(model, rows, packs):
    """(scores of the tokens behind each row's prompt of two tokens), end to end in the order of the rows' numbers."""
    pack = make_pack([(row, 2) for row in rows], range(len(rows)), [1.0] * len(rows))
    with torch.no_grad():
        found = PackedScores(model, packs=packs)(pack)[1]
    return [found[pack.row_of_target == number] for number in range(len(rows))]


def test_a_head_of_zeros_scores_every_token_exactly_0_and_has_the_students_body():
    model, _ = student()
    made = new_critic(model)
    assert not torch.cat(scores(made, [LONG], False)).any()
    for name, tensor in model.base_model.state_dict().items():
        assert torch.equal(tensor, made.base_model.state_dict()[name])


def test_a_score_is_that_of_the_models_own_head_at_the_token_itself():
    model = critic()
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([LONG])).logits[0, :, 0]
    assert torch.allclose(scores(model, [LONG], False)[0], logits[2:], atol=1e-6)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "mistral"])
def test_packed_rows_have_the_scores_that_each_has_alone(kind):
    model = critic(kind)
    (alone,), (other,) = scores(model, [LONG], False), scores(model, [SHORT], False)
    head = model.score.weight.clone()
    assert prepare_scores(model) and torch.equal(model.score.weight, head)
    together = scores(model, [SHORT, LONG], True)
    assert torch.allclose(together[1], alone, atol=1e-5) and torch.allclose(together[0], other, atol=1e-5)


def test_a_shared_opening_has_equal_scores_and_the_deciding_token_differs():
    """The third token decides: read one place too early its scores would be equal, too late the one before would differ."""
    model = critic()
    prepare_scores(model)
    right, wrong = scores(model, [[3, 4, 7, 9, 8, 5], [3, 4, 7, 9, 11, 5]], True)
    assert torch.equal(right[:2], wrong[:2]) and (right[2:] - wrong[2:]).abs().min() > 1e-3


def test_the_gradient_of_the_packed_loss_is_that_of_the_weighted_scores():
    model = critic()
    weights = torch.tensor([0.5, -1.0, 2.0, 0.0, 3.0])
    pack = make_pack([(LONG, 2)], [0], [weights])
    loss, *_ = PackedScores(model, packs=False)(pack)
    loss.backward()
    found = model.score.weight.grad.clone(), model.model.embed_tokens.weight.grad.clone()
    model.zero_grad()
    logits = model(input_ids=torch.tensor([LONG])).logits[0, 2:, 0]
    (-(weights * logits).sum()).backward()
    assert torch.allclose(found[0], model.score.weight.grad, atol=1e-5)
    assert torch.allclose(found[1], model.model.embed_tokens.weight.grad, atol=1e-5)


def test_a_critic_is_an_ordinary_folder_that_comes_back_as_it_was(tmp_path):
    model, tokenizer = critic(), student()[1]
    loading.save_model(model, tokenizer, tmp_path / "model", card="a critic")
    again, _ = load_critic(tmp_path / "model")
    plain = AutoModelForTokenClassification.from_pretrained(tmp_path / "model")
    assert plain.config.num_labels == 1
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]) and torch.equal(tensor, plain.state_dict()[name])


def test_a_student_is_no_critic_and_a_critic_no_student(tmp_path):
    model, tokenizer = student()
    loading.save_model(model, tokenizer, tmp_path / "student", card="")
    loading.save_model(new_critic(model), tokenizer, tmp_path / "critic", card="")
    with pytest.raises(OperatorError, match="student holds no critic"):
        load_critic(tmp_path / "student")
    with pytest.raises(
        OperatorError, match=r"holds a critic \(LlamaForTokenClassification\), which gives scores and no text"
    ):
        loading.load_folder(tmp_path / "critic")


def test_a_kind_of_model_without_a_token_classifier_is_a_sentence():
    model, _ = student()
    model.config.model_type = "no-such"
    model.config.__class__ = type("Odd", (model.config.__class__,), {"model_type": "odd"})
    with pytest.raises(OperatorError, match="no token classifier for"):
        new_critic(model)


def test_scores_of_other_tokens_are_refused():
    ours, same, other = student()[1], student()[1], student(alphabet="01234567#")[1]
    check_same_tokens(same, ours, "train.redi.critic", "orm")
    with pytest.raises(
        OperatorError, match=r"train.redi.critic: the critic orm has another tokenizer than the student"
    ):
        check_same_tokens(other, ours, "train.redi.critic", "orm")

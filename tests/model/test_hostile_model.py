"""A model's folder from a stranger: no pickle in it is opened, no code it names is run, and its chat template can only write."""

import json
import os
import pickle

import pytest

from redistill.config.tables import StudentSettings
from redistill.errors import OperatorError
from redistill.model import loading
from redistill.model.chat_template_check import try_template
from redistill.model.loading import chat_function

TINY = StudentSettings(
    from_config={"model_type": "llama", "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
                 "num_attention_heads": 1, "max_position_embeddings": 32},
    alphabet="0123456789+=",
)  # fmt: skip


class Evil:
    """What runs a command when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


@pytest.fixture
def folder(tmp_path):
    tokenizer = loading.load_tokenizer(TINY)
    loading.save_model(loading.load_model(TINY, tokenizer, seed=0), tokenizer, tmp_path / "model", card="a card")
    (tmp_path / "model" / "checksums.json").unlink()  # an untrusted folder has none
    return tmp_path / "model"


def load(folder):
    settings = StudentSettings(model=str(folder))
    return loading.load_model(settings, loading.load_tokenizer(settings), seed=0)


def test_a_pickle_beside_the_weights_is_not_opened_and_one_instead_of_them_is_refused(folder, tmp_path):
    marker = tmp_path / "ran"
    for name in (
        "pytorch_model.bin",
        "optimizer.pt",
        "scheduler.pt",
        "rng_state.pth",
        "training_args.bin",
        "vocab.pkl",
    ):
        (folder / name).write_bytes(pickle.dumps(Evil(marker)))
    load(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(OperatorError, match=r"pytorch_model\.bin is a pickle"):
        load(folder)
    (folder / "model.safetensors").write_bytes(pickle.dumps(Evil(marker)))  # under the other name
    with pytest.raises(OperatorError, match="cannot load the weights"):
        load(folder)
    assert not marker.exists()
    with pytest.raises(FileNotFoundError):  # the trap itself works
        pickle.loads(pickle.dumps(Evil(tmp_path / "no" / "folder")))


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "experts_implementation"])
def test_a_config_that_names_compiled_code_of_the_hub_is_refused(folder, key):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, key: "stranger/kernel"}))
    with pytest.raises(OperatorError, match="'stranger/kernel' from the hub, which is never run"):
        load(folder)


def with_template(template):
    tokenizer = loading.load_tokenizer(TINY)
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__.__base__ }}",
        "{{ ''['__class__'] }}{{ (''|attr('__class__')).mro() }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ raise_exception.__globals__ }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}{{ os }}",
        "{{ messages.append(1) }}",
    ],
)
def test_a_template_reaches_neither_files_nor_pythons_insides(template):
    try:
        written = chat_function(with_template(template))("1+1=")
    except OperatorError as error:
        assert "cannot be rendered" in str(error)
    else:  # Jinja gives an attribute that is not to be seen as nothing at all
        assert written == "", written


@pytest.mark.parametrize(
    ("template", "seconds", "words"),
    [
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}x", 1, "1 seconds"),
        # the limit of time is far: writing a GiB takes a slow machine more than one second
        ("{% set n = namespace(t='xxxxxxxx') %}{% for i in range(40) %}{% set n.t = n.t ~ n.t %}{% endfor %}", 60, "memory"),
    ],
    ids=["loops", "grows"],
)  # fmt: skip
def test_a_template_that_does_not_end_or_grows_is_refused_when_the_folder_is_read(
    folder, template, seconds, words, monkeypatch
):
    monkeypatch.setattr("redistill.model.chat_template_check.TRIAL_SECONDS", seconds)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": template}))
    with pytest.raises(OperatorError, match=f"chat template of .* needs more than .*{words}"):
        loading.load_tokenizer(StudentSettings(model=str(folder)))


def test_a_template_that_breaks_off_is_left_to_those_who_ask_for_it():
    tokenizer = with_template("{{ raise_exception('no system message') }}")
    try_template(tokenizer, "here")
    with pytest.raises(OperatorError, match="no system message"):
        chat_function(tokenizer)("1+1=")

"""The graph: order from inputs, and what a change of settings, of code or of a stage's parts makes anew. No stage is run here."""

import json

import pytest

from redistill.errors import OperatorError
from redistill.pipeline import keys
from redistill.pipeline.closure import Code
from redistill.pipeline.graph import check_code_changes, ordered, resolve
from redistill.pipeline.keys import compare, key_from_json, new_key, values, write_keys
from redistill.pipeline.stage import Stage, Stream


def stage(name, *inputs, **more):
    return Stage(name, inputs=inputs, **more)


def states(stages, folder, **more):
    return {name: state.cause for name, state in resolve(ordered(stages), folder, **more).items()}


def made(stages, folder):
    """The folders of these stages, as if they had been made."""
    for state in resolve(ordered(stages), folder).values():
        (folder / state.stage.name).mkdir(parents=True, exist_ok=True)
        write_keys(folder / state.stage.name, state.keys)


def verifier():
    """Stands for a bound member, by which the test knows the stage verify."""


def made_by_other_code(stages, folder, monkeypatch):
    """The folders of these stages, as if they had been made while the verifiers' code was another."""

    def before(roots, known=keys.code_of):
        code = known(roots)
        return (
            Code({**code.modules, "redistill.verify.cascade": "another"}, code.libraries) if verifier in roots else code
        )

    with monkeypatch.context() as patch:
        patch.setattr(keys, "code_of", before)
        made(stages, folder)


CHAIN = [
    stage("train/b", "train/a", "select:pairs", costly=True),
    stage("train/a", "select:examples", costly=True),
    stage("select", "verify", streams={"pairs": Stream(values(pairing="certain")), "examples": Stream(values())}),
    stage("verify", "corpus", uses=(verifier,)),
    stage("corpus", settings=values(seed=0)),
]


def test_a_stage_comes_after_what_it_reads_and_else_in_the_order_given():
    assert [s.name for s in ordered(CHAIN)] == ["corpus", "verify", "select", "train/a", "train/b"]
    between = stage("score", "verify", after=("corpus",))
    names = [s.name for s in ordered([*CHAIN[:2], stage("select", "score"), *CHAIN[3:], between])]
    assert names.index("verify") < names.index("score") < names.index("select")


def test_an_unknown_input_and_a_circle_are_sentences():
    with pytest.raises(OperatorError, match="stage a: it reads b, which no stage of this recipe writes"):
        ordered([stage("a", "b")])
    with pytest.raises(OperatorError, match="in a cycle: a > b > a"):
        ordered([stage("a", "b"), stage("b", "a")])


def test_what_is_made_stays_and_a_setting_makes_anew_what_depends_on_it(tmp_path):
    made(CHAIN, tmp_path)
    assert set(states(CHAIN, tmp_path).values()) == {"same"}
    other = [*CHAIN[:4], stage("corpus", settings=values(seed=1))]
    assert set(states(other, tmp_path).values()) == {"settings"}


def test_another_pairing_leaves_what_reads_examples(tmp_path):
    made(CHAIN, tmp_path)
    select = stage(
        "select", "verify", settings=values(pairing="shortest"),
        streams={"pairs": Stream(values(pairing="shortest")), "examples": Stream(values())},
    )  # fmt: skip
    found = states([*CHAIN[:2], select, *CHAIN[3:]], tmp_path)
    assert found == {"corpus": "same", "verify": "same", "select": "settings", "train/a": "same", "train/b": "settings"}


def test_an_option_added_since_that_has_its_default_is_no_change():
    before = key_from_json(new_key(values(a=1), {}, []).to_json())
    grown = new_key(values(a=1), {}, [])
    with_default = type(grown)({**grown.settings, "b": 7}, {}, {}, {}, "x", "y", written={"a": 1})
    assert not compare(before, with_default)
    written = type(grown)({**grown.settings, "b": 8}, {}, {}, {}, "x", "y", written={"a": 1, "b": 8})
    assert compare(before, written).settings == ["b: absent, now 8"]
    changed = type(grown)({"a": 2}, {}, {}, {}, "x", "y", written={})  # a default that is another now does count
    assert compare(before, changed).settings == ["a: 1, now 2"]


def test_where_only_code_changed_a_costly_result_is_asked_about_by_the_name_of_the_module(tmp_path, monkeypatch):
    made_by_other_code(CHAIN, tmp_path, monkeypatch)
    found = resolve(ordered(CHAIN), tmp_path)
    assert {name: state.cause for name, state in found.items()} == {
        "corpus": "same", "verify": "code", "select": "code", "train/a": "code", "train/b": "code"
    }  # fmt: skip
    with pytest.raises(OperatorError, match=r"train/a, train/b: .*redistill\.verify\.cascade.*--keep.*--remake"):
        check_code_changes(found.values())
    check_code_changes(
        state for state in found.values() if not state.stage.costly
    )  # cheap stages are made again unasked


def test_kept_results_stand_under_their_old_fingerprint_and_are_not_asked_about_again(tmp_path, monkeypatch):
    made_by_other_code(CHAIN, tmp_path, monkeypatch)
    kept = resolve(ordered(CHAIN), tmp_path, on_code_change="keep")
    assert {state.cause for state in kept.values()} == {"same"}
    stored = json.loads((tmp_path / "verify/key.json").read_text())["keys"][""]["fingerprint"]
    assert kept["verify"].fingerprints["verify"] == stored
    assert kept["verify"].keys[""].kept == ("redistill.verify.cascade",)
    for state in kept.values():
        write_keys(tmp_path / state.stage.name, state.keys)
    assert set(states(CHAIN, tmp_path).values()) == {"same"}


def test_code_that_changed_two_runs_ago_is_still_a_change_of_code_and_settings_are_settings(tmp_path, monkeypatch):
    """`run --until verify` made verify anew; the students below are asked about only if no setting changed on the way."""
    made_by_other_code(CHAIN, tmp_path, monkeypatch)
    remade = resolve(ordered(CHAIN), tmp_path)["verify"]
    write_keys(tmp_path / "verify", remade.keys)
    assert states(CHAIN, tmp_path)["train/a"] == "code"
    other = [*CHAIN[:3], stage("verify", "corpus", settings=values(policy="all"), uses=(verifier,)), CHAIN[4]]
    write_keys(tmp_path / "verify", resolve(ordered(other), tmp_path)["verify"].keys)
    assert states(other, tmp_path)["train/a"] == "settings"

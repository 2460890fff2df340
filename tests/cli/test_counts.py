"""Counts of no use are refused in a sentence that names the option, before anything is read or loaded."""

import pytest

from redistill.cli import main

COUNTS = [
    *((("rollout", "m", "p.jsonl", "--out", "o.jsonl"), o) for o in ("n", "until-right", "max-new-tokens", "max-problems")),
    *((("evaluate", "m", "--benchmark", "gsm8k"), o) for o in ("n", "max-new-tokens", "max-problems")),
    (("verify", "p.jsonl", "--gold", "a", "--prediction", "b"), "workers"),
    (("audit", "p.jsonl"), "workers"),
    (("regrade", "run", "--verifier", "exact"), "workers"),
    (("run", "quickstart"), "workers"),
    (("sweep", "s.yaml"), "workers"),
    (("serve", "--rewards", "quickstart"), "workers"),
    (("lr-find", "quickstart", "--stage", "redi", "--rates", "1e-4"), "steps"),
]  # fmt: skip


@pytest.mark.parametrize("count", ["0", "-1"])
@pytest.mark.parametrize(("command", "option"), COUNTS, ids=lambda value: value if isinstance(value, str) else value[0])
def test_a_count_below_one_is_refused(command, option, count, capsys):
    with pytest.raises(SystemExit) as end:
        main([*command, f"--{option}={count}"])
    said = capsys.readouterr().err
    assert end.value.code == 2 and said == f"redistill: {command[0]}: --{option} must be 1 or more, and is {count}.\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("doctor", "m", "--rows=-1"), "doctor: --rows must be 0 or more, and is -1."),
        (("plan", "quickstart", "--price=-1"), "plan: --price must be a number of 0 or more."),
        (("plan", "quickstart", "--utilisation=nan"), "plan: --utilisation must be above 0 and at most 1."),
        (("lr-find", "quickstart", "--stage", "redi", "--rates=1e-4,nan"), "lr-find: --rates must be numbers above 0."),
        (
            ("verify", "p.jsonl", "--gold", "a", "--prediction", "b", "--timeout-seconds=inf"),
            "verify: --timeout-seconds must be a number above 0.",
        ),
    ],
)
def test_a_number_that_cannot_be_is_refused(words, said, capsys):
    with pytest.raises(SystemExit) as end:
        main([*words])
    assert end.value.code == 2 and capsys.readouterr().err == f"redistill: {said}\n"

"""Every source through the stages up to select, on five rows; and text that was made to break things through all."""

import json

import pytest
from mini import MINI

from redistill.io.parquet import read_records

# i is asked as "0+i=": the right completion ends in ####i, the wrong one in ####(i+1) % 10
RIGHT = [f"0+{i}={i};####{i}" for i in range(5)]
WRONG = [f"0+{i}={(i + 1) % 10};####{(i + 1) % 10}" for i in range(5)]
SOURCES = {
    "traces": (
        lambda i: {"problem": f"0+{i}=", "answer": str(i), "generations": [{"text": RIGHT[i]}, {"text": WRONG[i]}]},
        "cascade",
        [],
        5,
    ),
    "openr1-math-raw": (
        lambda i: {
            "problem": f"0+{i}=",
            "answer": str(i),
            "problem_is_valid": "Yes",
            "source": "olympiads",
            "generations": [WRONG[i], RIGHT[i]],
            "is_reasoning_complete": [True, True],
            "correctness": {
                "llama_verification": [False, True],
                "math_verify": [False, True],
                "math_verify_reparsed_answer": [False, True],
            },
        },
        "all",
        ["llama_verification", "math_verify"],
        5,
    ),
    "openr1-math-220k": (
        lambda i: {
            "problem": f"0+{i}=",
            "answer": str(i),
            "source": "olympiads",
            "generations": [WRONG[i], RIGHT[i]],
            "is_reasoning_complete": [True, True],
            "correctness_math_verify": [False, True],
            "correctness_llama": None,
            "finish_reasons": None,
        },
        "math_verify",
        ["math_verify"],
        5,
    ),
    "preference": (
        lambda i: {"prompt": f"0+{i}=", "chosen": RIGHT[i], "rejected": WRONG[i]},
        "teacher_label",
        ["teacher_label"],
        5,
    ),
    "messages": (
        lambda i: {"messages": [{"role": "user", "content": f"0+{i}="}, {"role": "assistant", "content": RIGHT[i]}]},
        "teacher_label",
        ["teacher_label"],
        0,
    ),
    "am-deepseek-r1": (
        lambda i: {
            "messages": [
                {"role": "user", "content": f"0+{i}=", "info": {"reference_answer": str(i), "test_case": None}},
                {"role": "assistant", "content": f"<answer>{RIGHT[i]}</answer>", "info": {"think_content": None}},
            ]
        },
        "teacher_label",
        ["teacher_label"],
        0,
    ),
    "openthoughts": (
        lambda i: {
            "system": "Your role",
            "conversations": [
                {"from": "user", "value": f"0+{i}="},
                {"from": "assistant", "value": f"<|begin_of_solution|>{RIGHT[i]}<|end_of_solution|>"},
            ],
        },
        "teacher_label",
        ["teacher_label"],
        0,
    ),
    "completions": (
        lambda i: {"prompt": f"0+{i}=", "completions": [WRONG[i], RIGHT[i]], "answer": i},
        "cascade",
        [],
        5,
    ),
}
OPTIONS = {"openthoughts": ", label: all"}


def pieces(folder, stream):
    return [r for path in sorted((folder / "runs/mini/select" / stream).glob("*.parquet")) for r in read_records(path)]


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_goes_from_five_rows_to_examples_and_pairs(source, here, tool):
    row, policy, labels, num_pairs = SOURCES[source]
    (here / "rows.jsonl").write_text("".join(json.dumps(row(i)) + "\n" for i in range(5)))
    text = MINI.replace("dev_fraction: 0.2", "dev_fraction: 0.0001")
    if not num_pairs:  # right traces only: a recipe without negatives
        text = "\n".join(line for line in text.splitlines() if "objective: {name: redi" not in line)
    (here / "mini.yaml").write_text(text)
    sources = f"corpus.sources=[{{name: {source}, path: rows.jsonl{OPTIONS.get(source, '')}}}]"
    verify = ["--set", f"verify.policy={policy}", "--set", f"verify.labels=[{', '.join(labels)}]"]
    verify += ["--set", "verify.verifiers=[]"] if labels else []  # the source's word decides
    done = tool(here, "run", "mini.yaml", "--until", "select", "--set", sources, *verify)
    assert done.returncode == 0, done.stderr
    assert sorted(e.completion for e in pieces(here, "examples")) == RIGHT
    pairs = pieces(here, "pairs")
    assert sorted((p.prompt, p.chosen, p.rejected) for p in pairs) == [
        (f"0+{i}=", RIGHT[i], WRONG[i]) for i in range(num_pairs)
    ]


HOSTILE = {
    "html": "<script>alert(1)</script><img src=x onerror=alert(2)>&amp;]]>",
    "ansi": "\x1b[2J\x1b]0;owned\x07\x9b31m",
    "nul": "a\x00b",
    "bidi": "\u202eright\u202c \u2066left\u2069 \u200b",
    "surrogate": "\ud800 and \udfff",
    "template": "{problem} {{ 7*7 }} {% raw %} %s $x \\N{DIGIT ONE}",
    "special tokens": "<eos><bos><pad></s><|im_end|></think>",
    "line ends": "a\r\nb\u2028c\x85d\x0be",
    "many boxes": "\\boxed{" * 2000,
    "two megabytes": "1+1=2;" * 350_000,
    "emoji": "🙂" * 3 + "é",
    "a file's name": "../../etc/passwd",
    "numbers": "9" * 5000 + "^" + "9" * 5000,
}


def test_hostile_text_goes_through_all_stages_and_the_page_and_breaks_nothing(here, tool):
    rows = []
    for i, text in enumerate(HOSTILE.values()):
        short = text if len(text) < 100 else ""
        wrong = f"{text[:20_000]}####{i + 1}"
        generations = [
            {"text": f"{text}####{i}", "teacher": text[:50]},
            {"text": wrong, "pred": text[:50], "correct": False},
            {"text": text[:20_000]},
        ]
        rows.append({"problem": f"0+{i}={short}", "answer": str(i), "source": text[:40], "generations": generations})
    lines = [json.dumps(row) for row in rows]
    assert len(max(lines, key=len)) > 2_000_000 and any("\\ud800" in line for line in lines)
    (here / "rows.jsonl").write_text("\n".join([*lines, "\x1b[31mnot json", "", '{"problem": "\x00"}']) + "\n")
    (here / "mini.yaml").write_text(MINI.replace("dev_fraction: 0.2", "dev_fraction: 0.0001"))
    (here / "own.jsonl").write_text(json.dumps({"problem": "1+1=", "answer": "2"}))
    settings = [
        "corpus.sources=[{name: traces, path: rows.jsonl}]",
        "select.max_completion_tokens=20100",
        "corpus.max_chars=3000000",
        "evaluate.benchmarks=[{name: own, file: own.jsonl}]",
        "diagnosis=null",
    ]
    words = [word for setting in settings for word in ("--set", setting)]
    done = tool(here, "run", "mini.yaml", "--until", "select", *words)
    assert done.returncode == 0, done.stderr
    assert done.stderr.isascii() and "\x1b" not in done.stderr
    pairs = {p.prompt: p for p in pieces(here, "pairs")}
    # all but three: the two megabytes, end-of-turn tokens (what follows them is not the model's turn) and an unclosed last box
    assert len(pairs) == len(HOSTILE) - 3
    dropped = [d for d in pieces(here, "dropped") if d.stage == "select/pairs"]
    assert sorted(d.reason for d in dropped) == ["chosen_too_long", "no_correct_trace", "no_correct_trace"]
    ansi = next(p for p in pairs.values() if "\x1b" in p.chosen)
    assert ansi.chosen == HOSTILE["ansi"] + "####1" and ansi.rejected == HOSTILE["ansi"] + "####2"
    page = tool(here, "report", "runs/mini")
    assert page.returncode == 0, page.stderr
    html = (here / "runs/mini/report.html").read_text("utf-8")
    assert "<script" not in html and "<img src=x" not in html and "\x1b" not in html and "\x00" not in html
    assert "\u202e" not in html and ("{{ 7*7 }}" in html or "{problem}" in html)
    for index in range(3):
        for stream in ("verify/groups", "select/pairs", "select/dropped", "corpus/groups"):
            path = here / f"runs/mini/{stream}/part-{index:05d}.parquet"
            if path.exists() and next(read_records(path), None) is not None:
                shown = tool(here, "show", str(path))
                assert shown.returncode == 0, shown.stderr
                assert not set(shown.stdout) & set("\x00\x07\x0b\x1b\x85\x9b\u202e\u2066")
    again = tool(here, "run", "mini.yaml", "--until", "train", *words)
    assert again.returncode == 0, again.stderr  # gibberish is trained on like any other text


def test_problems_beside_traces_bring_the_gold_answers_and_everything_reaches_select(here, tool):
    spans, notes = {"steps": [[0, 3, 1.0]]}, {"critic": "fine"}
    rows = [
        {
            "problem": f"0+{i}=",
            "generations": [{"text": RIGHT[i], "spans": spans, "notes": notes}, {"text": WRONG[i]}],
            "more": i,
        }
        for i in range(5)
    ]
    asked = [{"problem": f"0+{i}=", "answer": str(i), "id": i} for i in range(6)]  # the last has no trace
    (here / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (here / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    (here / "mini.yaml").write_text(MINI.replace("dev_fraction: 0.2", "dev_fraction: 0.0001"))
    sources = "corpus.sources=[{name: traces, path: rows.jsonl}, {name: problems, path: asked.jsonl, id_column: id}]"
    done = tool(here, "run", "mini.yaml", "--until", "select", "--set", sources)
    assert done.returncode == 0, done.stderr
    assert "columns not read by their source (rows with them): more (5)" in done.stderr
    assert sorted((p.chosen, p.rejected) for p in pieces(here, "pairs")) == sorted(zip(RIGHT, WRONG, strict=True))
    found = {group.problem.metadata["id"]: group for group in pieces(here, "groups")}
    assert {id: len(group.traces) for id, group in found.items()} == {**dict.fromkeys(range(5), 2), 5: 0}
    trace = found[3].traces[0]
    assert trace.spans == {"steps": ((0, 3, 1.0),)} and trace.notes == notes and found[3].problem.answer == "3"
    why = tool(here, "why", trace.id, "runs/mini")
    assert why.returncode == 0 and "span steps 0-3 = 1: '0+3'" in why.stdout and "note critic: fine" in why.stdout
    page = tool(here, "report", "runs/mini")
    assert page.returncode == 0 and "chosen: spans steps (1)" in (here / "runs/mini/report.html").read_text("utf-8")


def test_a_corpus_without_traces_is_refused_at_every_run(here, tool):
    (here / "asked.jsonl").write_text(json.dumps({"problem": "0+1=", "answer": "1"}))
    for _ in range(2):  # the second finds the corpus finished
        done = tool(here, "run", "mini.yaml", "--set", "corpus.sources=[{name: problems, path: asked.jsonl}]")
        assert (
            done.returncode == 2
            and "corpus: 1 problem but no trace, which verify, select and train need" in done.stderr
        )
    assert (here / "runs/mini/corpus/ledger.json").exists() and not (here / "runs/mini/verify").exists()

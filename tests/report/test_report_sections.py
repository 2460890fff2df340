"""Sections as data: what each says about the made-up run, checked against numbers worked out by hand."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from made_up_run import PASS_AT_1, make_group

from redistill.io.atomic import write_json
from redistill.io.parquet import write_records
from redistill.records import Group
from redistill.report import charts, write_report
from redistill.report.blocks import Bars, Browser, Details, Figure, KeyNumbers, Passages, Sentences, Table, Tag, Text
from redistill.report.cross_run import other_runs, other_verifiers
from redistill.report.files import RunFiles
from redistill.report.render import with_code
from redistill.report.sections.funnel import funnel
from redistill.report.sections.label_noise import label_noise
from redistill.report.sections.pair_lengths import _edges, gaps
from redistill.report.sections.policies import policies, teachers
from redistill.report.sections.reproducibility import facts
from redistill.report.sections.results import comparisons, diagnosis, main_model, result, scores
from redistill.report.sections.traces import answers, pairs
from redistill.report.sections.training import training
from redistill.report.sections.verdicts import lengths, verdicts


@pytest.fixture(scope="module")
def run(run_folder: Path) -> RunFiles:
    return RunFiles(run_folder)


def cells(table: Table) -> list[list[str | None]]:
    return [[c.text if isinstance(c, Tag) else c for c in row] for row in table.rows]


def test_the_result_is_one_sentence_about_redi(run: RunFiles) -> None:
    lead = next(b for b in result(run) if isinstance(b, Text) and b.tone == "lead")
    assert lead.text == (
        "On dev, REDI answers 84.0% of the samples correctly (pass@1; 95% interval 80.5\u00a0to\u00a087.5), "
        "against 46.0% for SFT continued (control), 47.0% for SFT and 3.1% for the base student."
    )


def test_the_result_names_the_control_comparison_only(run: RunFiles) -> None:
    said = [b.text for b in result(run) if isinstance(b, Text) and "is above" in b.text]
    assert said == [
        "What can be claimed: redi is above control by 38.0 points (95% interval 34.0 to 42.0, 400 problems)."
    ]


def test_key_numbers_end_with_the_main_model(run: RunFiles) -> None:
    strip = next(b for b in result(run) if isinstance(b, KeyNumbers))
    assert [item.number for item in strip.items] == ["3.1%", "47.0%", "46.0%", "84.0%"]


def test_a_rejected_weight_of_zero_is_a_control_even_when_it_comes_last(run_folder: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    stages = {
        "redi": {"objective": {"name": "redi", "rejected_weight": 0.8}},
        "control": {"objective": {"name": "redi", "rejected_weight": 0.0}},
    }
    (run / "recipe.yaml").write_text(json.dumps({"train": stages}))  # JSON is YAML
    assert main_model(RunFiles(run)) == "redi"


def test_every_pairing_has_a_row_and_the_runs_own_is_named(run: RunFiles) -> None:
    table = next(b for b in policies(run) if isinstance(b, Table))
    assert cells(table) == [
        ["certain (this run)", "70", "70", "140", "90", "-50", "12.3%", "+0.0211", "75.0%", None],
        ["near-miss", "70", "68", "140", "90", "-50", "12.3%", "-0.3000", "75.0%", None],
    ]
    overlap, mixes = (b.blocks[0] for b in policies(run) if isinstance(b, Details))
    assert isinstance(overlap, Table) and cells(overlap) == [["certain", "70", "31"], ["near-miss", "31", "68"]]
    assert isinstance(mixes, Table) and cells(mixes)[0] == ["certain", "source", "two-habits 70"]


def test_traces_stand_by_source_and_by_teacher_and_an_unnamed_teacher_is_unknown(run: RunFiles) -> None:
    by_source, by_teacher = (b for b in teachers(run) if isinstance(b, Table))
    row = ["480", "300  (62.5%)", "100", "140 / 1,140", None, "25.0% / –", "0.71"]
    assert cells(by_source) == [["two-habits", *row]]
    assert [line[0] for line in cells(by_teacher)] == ["two-habits teacher", "unknown"]
    (details, _) = (b for b in teachers(run) if isinstance(b, Details))
    assert isinstance(details.blocks[0], Table) and cells(details.blocks[0])[0][4:5] == ["20"]


def test_both_standard_errors_are_named_and_shown(run: RunFiles) -> None:
    table = next(b for b in scores(run) if isinstance(b, Table) and "error bars" in b.caption)
    head = [name.replace("\u00a0", " ") for name in table.head]
    assert head[3:] == ["SEM (ddof 1) over sample columns", "SEM (ddof 1) over problems"]
    assert cells(table)[3] == ["redi", "84.0", "80.5\u00a0to\u00a087.5", "0.42", "1.75"]


def test_a_single_sample_has_no_error_over_columns(run_folder: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    path = run / "evaluate/redi/dev/scores.json"
    value = json.loads(path.read_text())
    del value["checksum"]  # written anew
    value["pass_at_1"]["sem_over_sample_columns"] = None
    value["settings"]["temperature"] = 1.0
    write_json(path, value)
    blocks = scores(RunFiles(run))
    table = next(b for b in blocks if isinstance(b, Table) and "error bars" in b.caption)
    assert cells(table)[3][3] is None  # set as a dash
    assert any("Not the same for all models: temperature" in b.text for b in blocks if isinstance(b, Text))


def test_the_rates_table_has_pass_at_k_and_majority(run: RunFiles) -> None:
    table = next(b for b in scores(run) if isinstance(b, Table) and "k at a time" in b.caption)
    assert list(table.head) == ["model", "pass@2", "pass@4", "maj@4"]
    # redi: pass@2 = 1 - 0.16^1.6 = 0.9467, pass@4 = 1 - 0.16^2.8 = 0.9941
    assert cells(table)[3] == ["redi", "94.7", "99.4", "87.0"]


def test_pass_at_k_that_is_0_throughout_is_not_drawn(run_folder: Path, tmp_path: Path) -> None:
    run = shutil.copytree(run_folder, tmp_path / "run")
    drawn = next(b for b in scores(RunFiles(run)) if isinstance(b, Figure))
    assert [title for title, _ in drawn.panels] == ["pass@1, %", "pass@k, %"]
    for path in run.glob("evaluate/**/scores.json"):
        value = json.loads(path.read_text("utf-8"))
        del value["checksum"]  # written anew
        for estimate in value["pass_at_k"].values():
            estimate["value"] = 0.0
        write_json(path, value)
    drawn = next(b for b in scores(RunFiles(run)) if isinstance(b, Figure))
    assert [title for title, _ in drawn.panels] == ["pass@1, %"]
    assert "pass@k" not in drawn.caption and drawn.single


def test_of_one_sample_no_table_of_k_samples_is_shown(run_folder: Path, tmp_path: Path) -> None:
    run = shutil.copytree(run_folder, tmp_path / "run")
    for path in run.glob("evaluate/**/scores.json"):
        value = json.loads(path.read_text("utf-8"))
        del value["checksum"]  # written anew
        value["num_samples"] = 1
        write_json(path, value)
    assert not [b for b in scores(RunFiles(run)) if isinstance(b, Table) and "k at a time" in b.caption]


def test_commands_in_a_sentence_are_set_as_code_and_everything_is_escaped() -> None:
    assert with_code("see `redistill show <b>`, <i>") == "see <code>redistill show &lt;b&gt;</code>, &lt;i&gt;"
    assert with_code("5` long <i>") == "5` long <i>"  # text still, which the page escapes


def test_comparisons_are_drawn_and_said(run: RunFiles) -> None:
    blocks = comparisons(run)
    assert [type(b).__name__ for b in blocks] == ["Figure", "Sentences", "Details"]
    table = blocks[2].blocks[0]  # type: ignore[union-attr]
    assert cells(table)[0] == ["redi − control", "38.0", "34.0\u00a0to\u00a042.0", "260", "21", "119"]  # type: ignore[arg-type]


def test_the_diagnosis_is_shown(run: RunFiles) -> None:
    table = next(b for b in diagnosis(run) if isinstance(b, Table))
    assert cells(table)[0] == ["lines that jump three operations", "45.0%", "5,120"]


def test_the_funnel_loses_nothing(run: RunFiles) -> None:
    bars = next(b for b in funnel(run) if isinstance(b, Bars))
    assert [bar.label for bar in bars.items][:3] == ["rows of the sources", "traces", "verdicts on the traces"]
    for bar in bars.items:
        assert sum(n for _, _, n in bar.segments) == bar.total  # in = kept + dropped
    assert max(bar.percent for bar in bars.items) == 100
    assert bars.items[0].total == 120 + 2 * 9 and bars.items[1].total == 480 + 2 * 21


def test_the_picture_of_the_funnel_is_in_traces_and_agrees_with_the_bars(
    run: RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[Any, Any]] = []
    monkeypatch.setattr(
        "redistill.report.sections.funnel.flow", lambda levels, ribbons, label: drawn.append((levels, ribbons))
    )
    funnel(run)
    ((levels, ribbons),) = drawn
    counts = [{part.name: part.count for part in level.parts} for level in levels]
    # 480 traces and 2 * 21 dropped; 324 right and 137 wrong ones; all right ones are examples; 70 pairs without training
    assert counts == [
        {"kept": 480, "dropped": 42},
        {"correct": 324, "incorrect": 137, "undecided": 19},
        {"right traces": 324},
        {"chosen": 70, "rejected": 70},
    ]
    assert [ribbon[1] for ribbon in ribbons if ribbon[5] == "wrong"] == [324]  # begins where the wrong ones begin


def test_the_gap_in_length_is_that_of_the_runs_own_pairs(run: RunFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[Any, Any]] = []
    monkeypatch.setattr(charts, "histogram", lambda bins, shares, *_, **__: drawn.append((bins, shares["kept"])))
    own, ranges = gaps(run)
    assert isinstance(own, Figure) and own.caption.startswith("94 pairs of certain")  # not the one dropped
    pairs = list(run.sample("select/pairs", max_shards=2, max_records=1000))
    shorter = sum(len(p.rejected) < len(p.chosen) for p in pairs) / 94
    assert f"shorter one in {100 * shorter:.1f}%" in own.caption
    # nothing falls out of a bin; the shared opening is in two bins, and is not drawn
    assert [sum(shares) for _, shares in drawn] == [pytest.approx(100.0)] and len(own.panels) == 1
    assert isinstance(ranges, Figure) and len(ranges.panels) == 2


def test_bins_have_round_borders_and_hold_the_ends() -> None:
    assert _edges(list(range(-40, 61))) == [-40, *range(-35, 60, 5), 61]
    assert _edges([7]) == [7, 8]


def test_verdicts_of_teachers_are_bars_of_one_length_the_best_first(run_folder: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    rows = {"a": {"traces": 10, "right": 5, "wrong": 4}, "b": {"traces": 8, "right": 6, "wrong": 2}, "": {"traces": 0}}
    write_json(run / "select/statistics.json", {"traces": {"teacher": rows}})
    (bars,) = (b for b in teachers(RunFiles(run)) if isinstance(b, Bars))
    assert [(bar.label, bar.words, bar.percent) for bar in bars.items] == [
        ("b", "75.0% right of 8", 100.0), ("a", "50.0% right of 10", 100.0), ("unknown", "0.0% right of 0", 100.0),
    ]  # fmt: skip
    assert bars.items[1].segments == [("right", "right", 5), ("wrong", "wrong", 4), ("other", "undecided", 1)]


def test_verdicts_stand_beside_each_other_by_verifier(run: RunFiles) -> None:
    blocks = verdicts(run)
    table = next(b for b in blocks if isinstance(b, Table))
    assert list(table.head) == ["outcome", "joined", "exact"] and cells(table)[-1] == ["all", "480", "480"]
    assert [b.summary for b in blocks if isinstance(b, Details)][-1:] == ["Reasons given by exact"]


def test_gold_answers_that_cannot_be_graded_are_counted_and_shown(run: RunFiles) -> None:
    table = next(b for b in verdicts(run) if isinstance(b, Table) and "gold answer cannot" in b.caption)
    # two shards with 2 + 1 such problems each
    assert [row[:2] for row in cells(table)] == [["gold_unreadable", "4"], ["no_gold", "2"]]
    some = next(b for b in verdicts(run) if isinstance(b, Details) and b.summary == "Some of them").blocks[0]
    assert ["x:<b>?</b>", "<b>?</b>"] in cells(some)  # type: ignore[arg-type]


def test_label_noise_is_a_matrix_and_a_sentence(run: RunFiles) -> None:
    sentence, matrix, chances, basis = label_noise(run)
    assert isinstance(sentence, Text) and "are right, by a model of 2 graders" in sentence.text
    # 400 traces; 200 by each author, 8 and 3 of every 10 correct, but where index % 20 == 7 the label says the contrary
    assert isinstance(matrix, Table) and "agree on 95.0%" in matrix.caption
    counts = [[int(c or 0) for c in row[1:]] for row in cells(matrix)]
    assert sum(map(sum, counts)) == 400 and counts[0][1] + counts[1][0] == 20
    assert isinstance(chances, Table) and [row[0] for row in chances.rows] == ["exact", "teacher_label"]
    assert isinstance(basis, Details)


def test_contradictions_between_labels_and_verifier_are_a_sentence_a_table_of_tasks_and_examples(
    run_folder: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    example = {
        "trace_id": "t1",
        "task": "caesar",
        "gold": "FISH",
        "answer": "FISH",
        "reason": "equal_text",
        "end": "so FISH",
    }
    says_wrong = {"traces": 3, "tasks": {"caesar": 2, "spell": 1}, "examples": [example]}
    says_right = {"traces": 5, "tasks": {"spell": 5}, "examples": []}
    table = {"label": "source_label", "verifier": "cascade", "sentence": "source_label and cascade differ on 8 traces.",
             "label_says_wrong": says_wrong, "label_says_right": says_right}  # fmt: skip
    write_json(run / "verify" / "label_agreement.json", {"tables": [table]})
    blocks = label_noise(RunFiles(run))
    assert any(
        isinstance(block, Text) and block.text == "source_label and cascade differ on 8 traces." for block in blocks
    )
    tasks, examples = [b for b in blocks if isinstance(b, Table) and "source_label" in b.caption]
    # the task with the largest count first: spell is contradicted 5 times one way, caesar twice the other
    assert cells(tasks) == [["spell", "1", "5"], ["caesar", "2", "0"]]
    assert examples.caption == "cascade says correct and source_label says wrong: examples"
    assert cells(examples) == [["caesar", "FISH", "FISH", "so FISH", "t1"]]


def test_lengths_fall_back_to_characters_and_say_what_was_read(run_folder: Path, tmp_path: Path) -> None:
    assert "324 right traces, 137 wrong traces" in lengths(RunFiles(run_folder))[0].caption  # type: ignore[union-attr]
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    shutil.rmtree(run / "select")
    figure = lengths(RunFiles(run))[0]
    assert isinstance(figure, Figure) and "Read: 120 groups from 2 shards of 2." in figure.caption


def test_a_long_corpus_is_sampled_evenly_and_boundedly(run_folder: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    for marker in (run / "verify").glob("*.done"):
        marker.unlink()  # it names the checksums of other shards
    for index in range(40):
        write_records(
            run / f"verify/groups/part-{index:05d}.parquet", Group, [make_group(index * 10 + i) for i in range(5)]
        )
    files = RunFiles(run)
    read = [g.problem.source_row for g in files.sample("verify/groups", max_shards=4, max_records=8)]
    assert read == ["x:0", "x:1", "x:100", "x:101", "x:200", "x:201", "x:300", "x:301"]


def test_steps_are_read_once_each_and_an_unfinished_line_is_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "train" / "sft"
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text(
        '{"step": 1, "loss": 3}\n{"step": 2, "loss": NaN}\n{"step": 1, "loss": 2}\n{"ste'
    )
    steps = RunFiles(tmp_path).steps("sft")
    assert [s.step for s in steps] == [1, 2] and steps[0].loss == 2
    table = training(RunFiles(tmp_path))[0]
    assert isinstance(table, Table) and "2, unfinished" in cells(table)[0]


def test_pairs_stand_side_by_side_with_the_first_difference_marked(run: RunFiles) -> None:
    (browser,) = (b for b in pairs(run) if isinstance(b, Browser))
    assert [leaf.face for leaf in browser.leaves] == ["1", "2", "3"]
    sides = browser.leaves[0].blocks[1]
    assert isinstance(sides, Passages)
    chosen, rejected = sides.items
    assert (chosen.title, rejected.title) == ("chosen", "rejected")
    assert dict(chosen.spans)["shared"] == dict(rejected.spans)["shared"]
    assert dict(chosen.spans)["mark"] == "+" and dict(rejected.spans)["mark"] == "-"
    assert "final: correct, read “1” (equal)" in chosen.facts
    said = [b.text for b in pairs(run) if isinstance(b, Text)]
    assert any("In 31 of 94 pairs (33.0%)" in text for text in said) and "--tokens" in said[-1]
    widths = [width for leaf in browser.leaves for _, width in leaf.bars]
    assert max(widths) == 100 and min(widths) > 0  # the longest side of all is the measure


def test_answers_are_right_wrong_and_undecided(run: RunFiles) -> None:
    (browser,) = (b for b in answers(run) if isinstance(b, Browser))
    faces = [leaf.face for leaf in browser.leaves]
    assert faces[:10] == [f"✓\u2009{n}" for n in (1, 2, 3, 4)] + [f"✗\u2009{n}" for n in (1, 2, 3, 4, 5, 6)]
    assert [leaf.label.partition(":")[0] for leaf in browser.leaves[:10]] == ["correct"] * 4 + ["incorrect"] * 6


def test_facts_tell_version_hash_machine_and_time(run: RunFiles) -> None:
    said = str(facts(run))
    for word in (
        "4edbe5d0c7, clean",
        "('gpus', 'none')",
        "2.11.0",
        "ab" * 32,
        "cpu_cores",
        "7 min",
        "rejected_weight: 0.8",
    ):
        assert word in said


def test_facts_hold_the_hashes_of_the_recipe_and_of_the_students(run_folder: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    (run / "train/redi/model").mkdir()
    (run / "train/redi/model/checksums.json").write_text('{"config.json": "aa", "model.safetensors": "bb"}')
    table = facts(RunFiles(run))[0]
    assert isinstance(table, Table)
    found = dict(table.rows)  # type: ignore[arg-type]
    assert found["recipe.yaml, SHA-256"] == hashlib.sha256((run / "recipe.yaml").read_bytes()).hexdigest()
    assert found["weights of redi, SHA-256"] == "bb" and "weights of sft, SHA-256" not in found


def test_models_keep_one_colour_on_the_whole_page(run: RunFiles) -> None:
    assert run.models == list(PASS_AT_1) and [run.series(m) for m in run.models] == [0, 1, 2, 3]


def test_with_many_models_the_sentence_keeps_to_those_that_matter(run_folder: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    for name in ("dpo", "simpo"):
        shutil.copytree(run / "evaluate/sft", run / "evaluate" / name)
    stages = {n: {"objective": n} for n in ("sft", "dpo", "simpo", "redi")}
    stages["control"] = {"objective": {"name": "redi", "rejected_weight": 0}}  # type: ignore[dict-item]
    (run / "recipe.yaml").write_text(json.dumps({"train": stages}))
    blocks = result(RunFiles(run))
    lead = next(b.text for b in blocks if isinstance(b, Text) and b.tone == "lead")
    assert "for SFT continued (control), 47.0% for SFT and 3.1%" in lead and "DPO" not in lead
    strip = next(b for b in blocks if isinstance(b, KeyNumbers))
    assert [i.label for i in strip.items] == ["base student", "SFT", "DPO", "SimPO", "SFT continued", "REDI"]


def test_many_comparisons_are_drawn_for_the_main_model_and_listed_for_all(run_folder: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    names = ["base", "sft", "control", "redi"]
    found = [
        {"a": a, "b": b, "benchmark": "dev", "difference": 0.1, "interval95": [0.0, 0.2], "sentence": f"{a} and {b}"}
        for i, a in enumerate(names)
        for b in names[:i]
    ]
    write_json(run / "evaluate/comparisons.json", found)
    _, sentences, details = comparisons(RunFiles(run))
    assert sentences.items == ["redi and base", "redi and sft", "redi and control"]  # type: ignore[union-attr]
    assert len(details.blocks[0].rows) == 6  # type: ignore[union-attr]


# --- beside the run ------------------------------------------------------------------------------------------------


def test_other_verifiers_are_a_sentence_a_table_of_outcomes_and_what_each_read(run: RunFiles) -> None:
    scores, outcomes, details = [b for b in other_verifiers(run) if not isinstance(b, Text)]
    assert isinstance(scores, Table) and cells(scores) == [
        ["redi", "dev", "choice", "10.0", "6.5\u00a0to\u00a013.5", "0.0"]
    ]
    assert isinstance(outcomes, Table) and cells(outcomes) == [["correct", "0", "1,200"], ["incorrect", "400", "0"]]
    said = next(b.text for b in other_verifiers(run) if isinstance(b, Text))
    assert "exact and choice agree on 25.0% of 1,600 answers" in said and "by exact alone: 1,200" in said
    assert isinstance(details, Details) and isinstance(details.blocks[0], Table)
    assert cells(details.blocks[0]) == [
        ["t0123", "7", "correct (equal_number)", "“7”", "ungradable (equal_number)", "“7”"]
    ]


def test_other_runs_are_sentences_parts_and_both_answers_of_a_flip(run: RunFiles) -> None:
    blocks = other_runs(run)
    sentences = next(b for b in blocks if isinstance(b, Sentences)).items
    assert sentences[0].startswith("dev: No difference between redi@one and redi@two can be claimed")
    assert "by redi@one alone 12, by redi@two alone 4, by neither 84. McNemar's exact test: p = 0.210." in sentences[1]
    assert sentences[2] == "Not the same: temperature 0.6 against 1.0."
    parts, flips = (b for b in blocks if isinstance(b, Details))
    assert cells(parts.blocks[0])[0] == [  # type: ignore[arg-type]
        "hard (below a third solved)", "90", "20.0", "10.0", "10.0", "0.0\u00a0to\u00a020.0",
    ]  # fmt: skip
    sides = flips.blocks[1]
    assert isinstance(sides, Passages) and [(s.title, s.tone) for s in sides.items] == [
        ("redi@one", "right"), ("redi@two", "wrong"),
    ]  # fmt: skip


def test_what_the_verbs_beside_have_not_left_has_no_heading(run_folder: Path, tmp_path: Path) -> None:
    bare = Path(shutil.copytree(run_folder, tmp_path / "run"))
    shutil.rmtree(bare / "regraded")
    shutil.rmtree(bare / "compare")
    page = write_report(bare).read_text("utf-8")
    assert ">Against other runs<" not in page and ">Other verifiers<" not in page and ">Scores<" in page


def test_how_the_answers_went_stands_strict_beside_lenient(run: RunFiles) -> None:
    table = next(b for b in scores(run) if isinstance(b, Table) and "how the answers ended" in b.caption)
    redi = next(row for row in cells(table) if row[0] == "redi")
    # made up: strict .9 * .84, 10% lenient alone; rates of the wrong .16: .06, .04, .02, .01
    assert redi[1:] == ["75.6", "10.0", "1.0", "0.6", "0.3", "0.2"]
    tokens = next(b for b in scores(run) if isinstance(b, Table) and "tokens per answer" in b.caption)
    assert next(r for r in cells(tokens) if r[0] == "redi")[1:] == [
        "42",
        "40",
        "71",
        "39",
        "38",
        "60",
    ]  # and no columns for the others, of which nothing is known

"""The sections about the result: the main sentence, the scores, the paired comparisons, the student's habits.

Shares are stored between 0 and 1 and shown in percent. Two standard errors of pass@1 are in use in the field and
differ by several times, so both are shown and named.
"""

import shlex
from typing import Any

from redistill.records import Outcome
from redistill.report import charts
from redistill.report.blocks import (
    Block,
    Code,
    Details,
    Figure,
    KeyNumber,
    KeyNumbers,
    Sentences,
    Table,
    Tag,
    Text,
    not_run,
)
from redistill.report.files import RunFiles
from redistill.report.shapes import Comparison, Scores
from redistill.report.text import count, interval, join, number, percent, plural, prompt_words, short
from redistill.text.figures import power_words
from redistill.text.unread_answers import shares_words, what_to_change

TOY = (
    "Toy setting: this says nothing about the paper's numbers. The student was initialised at random for this run. "
    "The page shows whether the method works in this setting."
)


_OBJECTIVES = {"dpo": "DPO", "simpo": "SimPO", "symmetric": "symmetric REDI"}
_ON_OWN = {
    "sft": "SFT on its own right answers",
    "redi": "REDI on its own answers",
    "grpo": "GRPO",
    "reinforce": "REINFORCE",
}
MAX_NAMED = 4  # models in the main sentence beside the main one; with more, only those it must be held against


def _role(run: RunFiles, model: str) -> str:
    """What a model is, in the field's words: 'REDI', 'SFT continued', ..."""
    if model == "base":
        return "the base student"
    if run.is_evaluation:
        return model
    name, options = run.objective(model)
    if run.draws_own_rows(model):
        return _ON_OWN.get(name, f"{_OBJECTIVES.get(name, name)} on its own answers")
    if name == "sft":
        return "SFT"
    if name == "redi":
        weight = options.get("rejected_weight")
        return "SFT continued" if weight == 0 else "REDI"
    return _OBJECTIVES.get(name, name) or "a trained student"


def _is_treated(run: RunFiles, model: str) -> bool:
    """True for a stage that learned from wrong traces too."""
    return _role(run, model) not in ("the base student", "SFT", "SFT continued")


def main_model(run: RunFiles) -> str | None:
    """The model the report is about: the last REDI stage, else the last one that learned from wrong traces too, else the
    last one; None without scores."""
    scored = run.models and [m for m in run.models if any(m == model for model, _ in run.scores)]
    by_rank = sorted(scored, key=lambda m: (_is_treated(run, m), _role(run, m) == "REDI"))  # stable: the last wins
    return by_rank[-1] if by_rank else None


def _named(run: RunFiles, model: str) -> str:
    role = _role(run, model)
    return role if role.lower() in (model.lower(), f"the {model} student") else f"{role} ({model})"


def result(run: RunFiles) -> list[Block]:
    """The main result in one plain sentence, with the models' pass@1 in large numbers."""
    blocks: list[Block] = [Text(TOY, "warning")] if run.is_toy else []
    main = main_model(run)
    if main is None:
        return [*blocks, *not_scored(run, "score"), *next_steps(run, None)]
    benchmark = next(b for b in run.benchmarks if (main, b) in run.scores)
    scores = run.scores[main, benchmark]
    others = [m for m in run.models if m != main and (m, benchmark) in run.scores]
    within = interval(scores.pass_at_1.interval95)
    sentence = (
        f"On {benchmark}, {_named(run, main)} answers {percent(scores.pass_at_1.value)}% of the samples correctly"
    )
    sentence += f" (pass@1; 95% interval {within})" if within else " (pass@1)"
    if others:
        compared = others if len(others) <= MAX_NAMED else [m for m in others if not _is_treated(run, m)] or others[:1]
        values = [
            f"{percent(run.scores[m, benchmark].pass_at_1.value)}% for {_named(run, m)}" for m in reversed(compared)
        ]
        sentence += f", against {join(values)}"
    blocks.append(Text(asked(run, main, benchmark), "quiet"))
    blocks.append(Text(sentence + ".", "lead"))
    cards = [_card(run, m, run.scores[m, benchmark]) for m in [*others, main]]
    blocks.append(KeyNumbers(cards))
    blocks += [Text(f"What can be claimed: {c.sentence}") for c in main_comparisons(run, main, benchmark)]
    unread = shares_words(scores.model_dump())
    blocks.append(Text(f"Answers of {main} on {benchmark}: {unread}.", "quiet"))
    return [*blocks, *next_steps(run, main), rows_behind(run, main, benchmark)]


def main_comparisons(run: RunFiles, main: str, benchmark: str) -> list[Comparison]:
    """The comparisons of the main student that isolate the wrong traces."""
    return [
        c
        for c in run.comparisons
        if c.sentence
        and c.benchmark in (benchmark, "")
        and main in (c.a, c.b)
        and _is_control(run, {c.a, c.b} - {main})
    ]


def asked(run: RunFiles, main: str, benchmark: str) -> str:
    """What the run asked, in one sentence."""
    scores = run.scores[main, benchmark]
    on = f"{plural(scores.num_problems or 0, 'problem')} of {benchmark}, {plural(scores.num_samples or 0, 'sample')} each"
    if run.is_evaluation:
        return f"Question: how often does {main} answer right? {on}."
    controls = [m for m in run.models if _is_control(run, {m})]
    against = (
        f" better than {join([_named(run, m) for m in controls])}" if controls else " better than the base student"
    )
    return f"Question: is {_named(run, main)}{against}? {on}, none of which was trained on."


FEW_PROBLEMS, FEW_STEPS = 100, 20  # below these a run can show little


def next_steps(run: RunFiles, main: str | None) -> list[Block]:
    """What to do next, as the numbers say: answers that nobody could read, a dev set that can show nothing, too few steps, one seed."""
    steps: list[str] = []
    for (model, _), scores in run.scores.items():
        if model == main:
            steps += what_to_change(scores.model_dump())
    benchmark = next((b for b in run.benchmarks if main and (main, b) in run.scores), None)
    if main and benchmark:
        scores = run.scores[main, benchmark]
        problems, n = scores.num_problems or 0, scores.num_samples or 1
        decisive = main_comparisons(run, main, benchmark)
        smallest = next((c.smallest_difference for c in decisive if c.smallest_difference), None)
        words = f"a difference of {percent(smallest)} points or more" if smallest else ""
        power = f"{plural(problems, 'problem')} with n = {n} can show {words} (paired, power 0.8, 5% level)" if words else (
            power_words(problems, n=n))  # fmt: skip
        if decisive and all(c.is_claimed is False for c in decisive):
            steps.append(
                f"No difference is shown. {power}: to see a smaller one, score on more problems, or raise evaluate.n."
            )
        elif not run.is_evaluation:
            steps.append(f"{power}.")
        if problems < FEW_PROBLEMS:
            steps.append(
                f"{plural(problems, 'problem')} on {benchmark} is few: {FEW_PROBLEMS} or more give a useful interval "
                "(corpus.dev_fraction, or a benchmark in evaluate.benchmarks)."
            )
    short_stages = [s for s in run.stages if 0 < len([r for r in run.steps(s) if r.step > 0]) < FEW_STEPS]
    if short_stages:
        steps.append(
            f"{join(short_stages)} took fewer than {FEW_STEPS} steps, too few to move a student: more pairs per problem "
            "(select.pairing.max_pairs), more epochs, or smaller batches."
        )
    if main and not run.is_evaluation:
        steps.append(
            f"This is one training seed{_seed(run)}: `redistill sweep` trains more seeds and gives the interval over seeds."
        )
    if not steps:
        return []
    return [Text("What to do next:", ""), Sentences(steps)]


ROWS = "rows-behind-the-numbers"


def rows_behind(run: RunFiles, main: str, benchmark: str) -> Details:
    """The commands that show the rows behind the numbers above."""
    lines = ["cd RUN      # the folder that contains this page", "redistill scores ."]
    shards = run.shards(f"evaluate/{main}/{benchmark}/groups")
    if shards:
        path = shlex.quote(shards[0].relative_to(run.folder).as_posix())
        lines.append(f"redistill show {path}      # every answer of {main} with its verdict and why")
    other = next((c.b if c.a == main else c.a for c in main_comparisons(run, main, benchmark)), None)
    if other:
        pair = shlex.quote(f"{main}:{other}")
        lines.append(f"redistill compare . . --student {pair}      # which problems changed")
    if not run.is_evaluation:
        lines.append("redistill why ID .      # what each stage did with a problem, trace or pair")
    code = Code("commands that show the rows behind the numbers", "\n".join(lines))
    return Details("The commands that show the rows behind these numbers", [code], anchor=ROWS)


def not_scored(run: RunFiles, what: str) -> list[Block]:
    """The one plain line of a section that needs scores, in a run without any."""
    if why := run.unscored:
        return [Text(f"Left out: {why}", "missing")]
    return not_run("evaluate", what)


def _is_control(run: RunFiles, models: set[str]) -> bool:
    """True for the comparison that isolates the wrong traces: against the same training at weight 0, else against SFT."""
    controls = {m for m in run.models if _role(run, m) == "SFT continued"}
    return bool(models & (controls or {m for m in run.models if _role(run, m) == "SFT"}))


def _card(run: RunFiles, model: str, scores: Scores) -> KeyNumber:
    within = interval(scores.pass_at_1.interval95)
    role = _role(run, model).removeprefix("the ")
    is_shared = [_role(run, m) for m in run.models].count(_role(run, model)) > 1
    return KeyNumber(
        f"{role} ({model})" if is_shared else role,
        f"{percent(scores.pass_at_1.value)}%",
        f"{within}" if within else "",
        run.series(model),
        ROWS,
    )


# --- scores -----------------------------------------------------------------------------------------------------


def scores(run: RunFiles) -> list[Block]:
    """pass@1 with both error bars, pass@k, majority vote and the rates, a benchmark at a time."""
    if not run.scores:
        return not_scored(run, "score")
    blocks: list[Block] = []
    for benchmark in run.benchmarks:
        rows = run.scores_on(benchmark)
        blocks += [Text(_how(benchmark, rows)), _score_figure(run, benchmark, rows), _pass_table(run, benchmark, rows)]
        if any(s.num_samples != 1 for s in rows.values()):  # of one sample every column would be pass@1 again
            blocks.append(_rates_table(run, benchmark, rows))
        blocks.append(_manner_table(run, benchmark, rows))
        blocks += _prompt_sent(benchmark, rows)
        blocks += [_tokens_table(run, benchmark, rows), _outcomes(run, benchmark, rows)]
    blocks.append(
        Text(
            "SEM over sample columns: the standard deviation (ddof 1) of the whole-benchmark scores of the n samples, divided "
            "by √n, with the problems fixed. The paper uses ddof 0, which is smaller by √((n − 1)/n). SEM over problems: "
            "the standard deviation (ddof 1) of the problems' means, divided by the root of their number, as in lighteval; it "
            "shows how much other problems of the same kind would change the score. The 95% intervals are over problems: Wilson "
            "intervals at the effective sample size."
            + (
                ""
                if run.is_evaluation
                else f" None of them includes the spread over training seeds: each stage was trained once{_seed(run)}."
            ),
            "quiet",
        )
    )
    return blocks


MAX_PROMPT = 4_000  # characters


def _prompt_sent(benchmark: str, rows: dict[str, Scores]) -> list[Block]:
    """The prompt of a problem as it went to the student, once for each way in which it was asked."""
    prompts: dict[str, list[str]] = {}
    for model, scores in rows.items():
        if scores.prompt_sent:
            prompts.setdefault(scores.prompt_sent, []).append(model)
    blocks: list[Block] = []
    for prompt, models in prompts.items():
        whom = "" if len(prompts) == 1 else f" to {join(models)}"
        asked_as = prompt_words(rows[models[0]].settings)
        prefill = str(rows[models[0]].settings.get("prefill") or "")
        cut = f"\n[{len(prompt) - MAX_PROMPT:,} more characters]" if len(prompt) > MAX_PROMPT else ""
        blocks.append(
            Details(
                f"The prompt that was sent{whom} on {benchmark}{f' ({asked_as})' if asked_as else ''}",
                [Code(f"prompt of a problem of {benchmark}", prompt[:MAX_PROMPT] + cut + prefill)],
            )
        )
    return blocks


def _seed(run: RunFiles) -> str:
    seed = run.setting("seed") if run.facts.seed is None else run.facts.seed
    return "" if seed is None else f", with seed {seed}"


def _how(benchmark: str, rows: dict[str, Scores]) -> str:
    """One sentence on how a benchmark was run, and which settings differ between models, if any."""
    first = next(iter(rows.values()))
    settings = first.settings
    parts = [f"{plural(first.num_problems or 0, 'problem')}, {plural(first.num_samples or 0, 'sample')} each"]
    words = {"temperature": "temperature {}", "top_p": "top-p {}", "max_new_tokens": "at most {} new tokens"}
    words |= {"prefill": "every completion prefilled with “{}”"}
    parts += [
        form.format(short(str(settings[k]), 60)) for k, form in words.items() if settings.get(k) not in (None, "", {})
    ]
    parts += [f"prompt {asked}"] if (asked := prompt_words(settings)) else []
    parts += [
        said for model, scores in rows.items() if (said := _search(scores, "" if len(rows) == 1 else f" of {model}"))
    ]
    keys = sorted({k for s in rows.values() for k in s.settings})
    differ = [k for k in keys if len({repr(s.settings.get(k)) for s in rows.values()}) > 1]
    if len({(s.num_problems, s.num_samples) for s in rows.values()}) > 1:
        differ.append("number of problems or samples")
    warning = f" Not the same for all models: {join(differ)}." if differ else ""
    left_out = f" Left out as ungradable: {plural(first.num_ungradable, 'problem')}." if first.num_ungradable else ""
    refused = [f"{plural(len(s.left_out), 'problem')} of {m}" for m, s in rows.items() if s.left_out]
    if refused:
        left_out += f" Left out because the server refused to answer: {join(refused)}."
    return f"{benchmark}: {', '.join(parts)}.{left_out}{warning}"


def _search(scores: Scores, whose: str) -> str:
    """How answers were searched for, and what that cost; "" where they were sampled. whose: ` of MODEL`, of several."""
    engine, cost = scores.settings.get("engine"), scores.search
    if not cost or not isinstance(engine, dict):
        return ""
    options = engine.get("options") or {}
    said = f"guided search{whose} ({options.get('candidates', 8)} candidates a step, at most {options.get('steps', 30)} steps): {cost['drawn_tokens']:,.0f} "
    said += f"tokens drawn and {cost['critic_calls']:,.1f} critic calls an answer"
    if written := cost.get("critic_tokens"):
        said += f", {written:,.0f} tokens written by the critic"
    if undecided := cost.get("undecided_candidates"):
        said += f", {undecided:,.1f} candidates undecided"
    return said


def _score_figure(run: RunFiles, benchmark: str, rows: dict[str, Scores]) -> Figure:
    dots = [
        (m, run.series(m), s.pass_at_1.value, s.pass_at_1.interval95)
        for m, s in rows.items()
        if s.pass_at_1.value is not None
    ]
    panels = [("pass@1, %", charts.intervals(dots, "", f"pass@1 with 95% intervals on {benchmark}"))]
    curves = {
        m: sorted((int(k), e.value) for k, e in s.pass_at_k.items() if k.isdigit() and e.value is not None)
        for m, s in rows.items()
    }
    curves = {m: points for m, points in curves.items() if len(points) > 1}
    if not any(share for points in curves.values() for _, share in points):  # flat lines on the axis show nothing
        curves = {}
    legend = []
    if curves:
        series = {m: run.series(m) for m in curves}
        panels.append(("pass@k, %", charts.pass_at_k(curves, series, f"pass@k on {benchmark}")))
        legend = [Tag(m, run.series(m)) for m in curves]
    caption = f"{benchmark}. pass@1: the line through a dot is its 95% interval over problems."
    caption += " pass@k: the share of problems with at least one right answer among k samples." if curves else ""
    return Figure(panels, caption, legend, single=len(panels) == 1)


def _pass_table(run: RunFiles, benchmark: str, rows: dict[str, Scores]) -> Table:
    head = (
        "model",
        "pass@1, %",
        "95% interval",
        "SEM\u00a0(ddof\u00a01) over\u00a0sample\u00a0columns",
        "SEM\u00a0(ddof\u00a01) over\u00a0problems",
    )
    body = [
        (
            Tag(m, run.series(m)),
            percent(s.pass_at_1.value),
            interval(s.pass_at_1.interval95),
            percent(s.pass_at_1.sem_over_sample_columns, 2),
            percent(s.pass_at_1.sem_over_problems, 2),
        )
        for m, s in rows.items()
    ]
    return Table(f"{benchmark}: pass@1 and its error bars, in percent points", head, body)


def _rates_table(run: RunFiles, benchmark: str, rows: dict[str, Scores]) -> Table:
    every = sorted({int(k) for s in rows.values() for k in s.pass_at_k if k.isdigit()} - {1})
    ks = [k for k in every if k.bit_count() == 1 or k == every[-1]]  # 2, 4, 8, ... and n; the curve shows them all
    n = next(iter(rows.values())).num_samples or "n"
    head = ["model", *(f"pass@{k}" for k in ks), f"maj@{n}"]
    body = []
    for m, s in rows.items():
        passes = [percent(s.pass_at_k[str(k)].value) if str(k) in s.pass_at_k else None for k in ks]
        body.append([Tag(m, run.series(m)), *passes, percent(s.majority_at_n.value) if s.majority_at_n else None])
    return Table(f"{benchmark}: the same samples, k at a time, in percent", head, body)


def _manner_table(run: RunFiles, benchmark: str, rows: dict[str, Scores]) -> Table:
    """How the answers went: the strict parse, and what kept them from being read or ended."""
    has_strict = any(s.strict for s in rows.values())
    strict = ("pass@1, strict", "lenient alone finds an answer") if has_strict else ()
    head = ("model", *strict, "no answer", "cut by length", "thinking unfinished", "repetitive")
    body = []
    for m, s in rows.items():
        anchored = s.strict
        values = (anchored.pass_at_1.value, anchored.only_lenient_finds_an_answer) if anchored else (None, None)
        rates = (s.no_answer_rate, s.truncation_rate, s.unfinished_thinking_rate, s.repetition_rate)
        body.append([Tag(m, run.series(m)), *map(percent, (*(values if has_strict else ()), *rates))])
    return Table(f"{benchmark}: how the answers ended, in percent of the samples", head, body)


_TOKENS = {"all": "all", "correct": "correct", "not_correct": "others"}


def _tokens_table(run: RunFiles, benchmark: str, rows: dict[str, Scores]) -> Table:
    means = {key: [s.tokens[key].mean for s in rows.values() if s.tokens and key in s.tokens] for key in _TOKENS}
    known = [key for key in _TOKENS if key == "all" or any(mean is not None for mean in means[key])]
    head = ("model", *(f"{_TOKENS[key]}: {what}" for key in known for what in ("mean", "median", "90%")))
    body = []
    for m, s in rows.items():
        cells = [s.tokens.get(key) if s.tokens else None for key in known]
        values = [count(v) for c in cells for v in ((c.mean, c.p50, c.p90) if c else (None, None, None))]
        if s.tokens is None:
            values[0] = count(s.mean_tokens)
        body.append([Tag(m, run.series(m)), *values])
    return Table(f"{benchmark}: tokens per answer", head, body)


def _outcomes(run: RunFiles, benchmark: str, rows: dict[str, Scores]) -> Details:
    words = [o.value for o in Outcome if any(o.value in s.rates for s in rows.values())]
    words += sorted({w for s in rows.values() for w in s.rates} - set(words))
    body = [[Tag(m, run.series(m)), *(percent(s.rates.get(w, 0.0)) for w in words)] for m, s in rows.items()]
    table = Table(f"{benchmark}: verdicts on the samples, in percent", ["model", *words], body)
    return Details(f"Verdicts on the samples of {benchmark}, by outcome", [table])


def comparisons(run: RunFiles) -> list[Block]:
    """Paired differences on the same problems: those of the main model drawn and said, all of them in a table."""
    if not run.scores:
        return not_scored(run, "comparison")
    if not run.comparisons:
        return [Text("No two models were compared in this run.", "quiet")]
    blocks: list[Block] = []
    for benchmark in dict.fromkeys(c.benchmark for c in run.comparisons):
        every = [c for c in run.comparisons if c.benchmark == benchmark]
        here = [c for c in every if main_model(run) in (c.a, c.b)] or every
        drawn = [(_minus(c), run.series(c.a), c.difference, c.interval95) for c in here if c.difference is not None]
        if drawn:
            chart = charts.intervals(drawn, "points of pass@1", f"paired differences on {benchmark}", zero_line=True)
            caption = f"{benchmark}. Difference in pass@1 on the same problems, with its 95% interval; the vertical line marks no difference."
            blocks.append(Figure([("", chart)], caption, single=True))
        blocks.append(Sentences([c.sentence for c in here if c.sentence]))
        blocks.append(
            Details(f"{plural(len(every), 'difference')} on {benchmark} as a table", [_differences(benchmark, every)])
        )
    return blocks


def _minus(comparison: Comparison) -> str:
    return f"{comparison.a} − {comparison.b}"


def _differences(benchmark: str, comparisons: list[Comparison]) -> Table:
    head = ("a − b", "difference, points", "95% interval", "problems a is better on", "worse on", "same")
    rows = [
        (
            _minus(c),
            percent(c.difference),
            interval(c.interval95),
            count(c.num_above),
            count(c.num_below),
            count(c.num_equal),
        )
        for c in comparisons
    ]
    return Table(f"{benchmark}: paired differences", head, rows)


def diagnosis(run: RunFiles) -> list[Block]:
    """What the student did before the last stage, as the evaluate stage measured it."""
    report = run.diagnosis
    if report is None and run.setting("diagnosis") is None:
        return []
    if report is None:
        return [Text("The student's habits have not been diagnosed yet: the evaluate stage does that.", "missing")]
    blocks: list[Block] = [Text(report.sentence[:1].upper() + report.sentence[1:])] if report.sentence else []
    rows = [(r.label, _habit(r.value), count(r.n)) for r in report.rows]
    of = f" ({report.student})" if report.student else ""
    return [*blocks, Table((report.title or "Habits of the student") + of, ("habit", "value", "n"), rows)]


def _habit(value: Any) -> str | None:
    """A measured habit: a share in percent, other numbers and words as they stand."""
    return f"{percent(value)}%" if isinstance(value, float) and 0 <= value <= 1 else number(value)

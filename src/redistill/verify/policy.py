"""Several verdicts on one trace -> one. "Could not decide" is never "incorrect".

    all      all correct -> correct; all incorrect -> incorrect; all the same undecided outcome -> that; else disagree
    agree    correct and incorrect -> disagree; one undecided -> that; else the common one. A label that a row lacks is silent
    decided  as `all` among those that can grade the problem: one that is ungradable is silent
    any      one correct -> correct; all incorrect -> incorrect; all the same undecided outcome -> that; else disagree
    <name>   that verifier's verdict

The score of a graded verifier goes with its verdict; where several say the same, the first one's; a dispute has none.

The joined verdict stands beside the others under records.FINAL and names its policy as its verifier.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from redistill.config.validation_messages import did_you_mean
from redistill.errors import OperatorError
from redistill.records import DECIDED, FINAL, Group, Outcome, Trace, Verdict

MISSING = Verdict(Outcome.ungradable, reason="missing")  # a label that this row of the data lacks: unknown, never wrong
JOINING = ("all", "any", "agree", "decided")


def check_policy(policy: str, names: Iterable[str]) -> None:
    """OperatorError unless `policy` is `all`, `any`, `agree`, `decided` or one of the verifiers' names: asked before any work begins."""
    known = [*names, *JOINING]
    if policy not in known:
        raise OperatorError(f"verify.policy: there is no {policy!r}{did_you_mean(policy, known)}")


def combine(verdicts: Mapping[str, Verdict], policy: str) -> Verdict:
    """The one verdict that `policy` makes of verdicts by verifier name; `ungradable` where the named one is missing."""
    if policy in JOINING:
        joined = _join(verdicts, policy)
    elif policy in verdicts:
        joined = verdicts[policy]
    else:
        joined = Verdict(Outcome.ungradable, reason=f"no_verdict_by_{policy}")
    return dataclasses.replace(joined, verifier=f"policy:{policy}")


def _join(verdicts: Mapping[str, Verdict], policy: str) -> Verdict:
    if not verdicts:
        return Verdict(Outcome.ungradable, reason="no_verdicts")
    if policy == "agree":
        verdicts = {name: v for name, v in verdicts.items() if v is not MISSING} or verdicts
    if policy == "decided":
        verdicts = {name: v for name, v in verdicts.items() if v.outcome is not Outcome.ungradable} or verdicts
    outcomes = [verdict.outcome for verdict in verdicts.values()]
    who_said_what = ", ".join(f"{name}:{verdict.outcome}" for name, verdict in sorted(verdicts.items()))
    if len(set(outcomes)) == 1:
        outcome, reason = outcomes[0], next(iter(verdicts.values())).reason
    elif policy == "agree" and not set(outcomes) >= DECIDED:
        undecided = next(v for v in verdicts.values() if v.outcome not in DECIDED)
        outcome, reason = undecided.outcome, undecided.reason
    elif policy == "any" and Outcome.correct in outcomes:
        outcome, reason = Outcome.correct, who_said_what
    else:
        outcome, reason = Outcome.disagree, who_said_what
    speaker = next((v for v in verdicts.values() if v.outcome == outcome), next(iter(verdicts.values())))
    versions = ", ".join(dict.fromkeys(v.verifier_version for v in verdicts.values() if v.verifier_version))
    seconds = round(sum(verdict.seconds for verdict in verdicts.values()), 1)
    disputed = outcome == Outcome.disagree and len(set(outcomes)) > 1
    score = None if disputed else speaker.score
    return Verdict(outcome, speaker.extracted, reason, "", versions, seconds, score)


def counted_labels(written: Sequence[str] | None, policy: str, present: Sequence[str]) -> list[str]:
    """The labels that count: those of the recipe, or where it writes none all that the data brings, under `agree`."""
    if written is not None:
        return list(written)
    return list(present) if policy == "agree" else []


def labels_of(trace: Trace) -> dict[str, Outcome]:
    """The outcomes that the data itself brought: labels have no version, as every verifier's verdict has."""
    return {name: v.outcome for name, v in trace.verdicts.items() if not v.verifier_version and name != FINAL}


def verify_group(
    group: Group, verdicts: Sequence[Mapping[str, Verdict]], policy: str, labels: Sequence[str] = ()
) -> Group:
    """The group with each trace's verdicts added under their verifiers' names, and the joined one under FINAL.

    verdicts: one mapping per trace, in the group's order (what VerifierPool.judge yields). labels: the verdicts already
    in the data that the policy joins with them; one that a trace lacks counts as undecided.
    """
    traces = []
    for trace, by_name in zip(group.traces, verdicts, strict=True):
        for name, verdict in by_name.items():
            trace = trace.with_verdict(name, verdict)
        verdicts_by_name = {**{label: trace.verdicts.get(label, MISSING) for label in labels}, **by_name}
        traces.append(trace.with_verdict(FINAL, combine(verdicts_by_name, policy)))
    return dataclasses.replace(group, traces=tuple(traces))


def second_opinion(first: Verdict, second: Verdict, policy: str) -> Verdict:
    """The final verdict after a judge has been asked about a doubtful one; only the judge's `correct` changes it.

    rescue   a trace that the rules call incorrect or disputed becomes correct
    veto     a trace that the rules call incorrect becomes disputed: neither an example nor a rejected trace

    A verdict that the judge changes has no score: it is not a graded verifier. What the judge calls incorrect or cannot decide leaves the rules' verdict: a model alone makes no negatives.
    """
    said = f"{first.verifier}, judge:{policy}"
    if second.outcome is not Outcome.correct or (policy == "veto" and first.outcome is not Outcome.incorrect):
        return dataclasses.replace(first, verifier=said)
    outcome, word = (Outcome.correct, "rescued") if policy == "rescue" else (Outcome.disagree, "vetoed")
    versions = ", ".join(v for v in (first.verifier_version, second.verifier_version) if v)
    return Verdict(outcome, first.extracted, f"{word}: {first.reason}", said, versions, first.seconds)

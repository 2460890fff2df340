"""A made search task with a teacher who knows the form and a shelf, not the answer: what reinforcement learning starts from.

    problem     "bona ruvi K"                                K is the customers' sign for what the catalogue calls tasi
    completion  <answer>{"query": "suka"}</answer>            the word of any of the five kinds on its shelf
    label       form: correct                                the form is right, which is all that it teaches

With `verify: {verifiers: [], labels: [form]}` a student learns from it to write one of the shelf's five words in the asked form, each
about as likely. Which one finds what a customer means, only the retriever can teach it. made:shop is the same with histories.
"""

import random
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from redistill.corpus.sources.queries import problem_of
from redistill.records import Dropped, Group, Outcome, Trace, Verdict, make_trace
from redistill.retrieval import collection, toy
from redistill.retrieval.collection import Query
from redistill.retrieval.histories import Cut, Users, histories, next_purchase

AUTHOR = "catalogue teacher"
FORM = "form"  # the label's name


def toy_catalogue(
    *,
    folder: str = "made:catalogue",
    problems: Annotated[int, Field(gt=0, le=toy.MAX_QUERIES)] = 1_200,
    traces: Annotated[int, Field(ge=0)] = 2,
    users: Users = "inductive",
    shuffled: bool = False,
    seed: int = 0,
) -> Iterator[Group | Dropped]:
    """`problems` different queries to a made catalogue, or customers of a made shop (whose purchases are listed in one line), each with
    `traces` completions in the asked form.

    shuffled: the target is drawn from the shelf again for every query, so that nothing more than the shelf can be learned: the control. users: of
    the shop, which purchase is asked (retrieval/histories.py); customers are held out by the recipe, as `dev`.
    """
    name, _ = toy.parse(folder)
    asked = _histories(folder, problems, users, shuffled) if name == "shop" else collection.queries(folder, count=problems, shuffled=shuffled)  # fmt: skip
    for query in asked:
        problem = problem_of(query, "toy-catalogue")
        made = dict[str, Trace]()
        rng, words = random.Random(f"{seed}:{query.id}"), toy.words_on_shelf(folder, min(query.relevant))
        for index in range(traces):
            completion = f'<answer>{{"query": "{rng.choice(words)}"}}</answer>'
            label = {FORM: Verdict(Outcome.correct, reason=FORM, verifier=FORM)}
            trace = make_trace(problem.id, completion, author=AUTHOR, sampling={"sample_index": index},
                               finish_reason="stop", verdicts=label)  # fmt: skip
            made.setdefault(trace.id, trace)
        yield Group(problem, tuple(made.values()))


def _histories(folder: str, count: int, users: Users, shuffled: bool) -> Iterator[Query]:
    titles = toy.signs(folder)
    cut = Cut("train", users, test_users=0.0, separator=", ")
    for history in histories(folder, count=count, shuffled=shuffled):
        query = next_purchase(history, titles, cut)
        assert isinstance(query, Query), "every synthetic customer has a next purchase"
        yield query

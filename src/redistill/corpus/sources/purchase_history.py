"""Sequential recommendation as search: what a customer bought so far -> a query that finds what they buy next.

    folder beauty/: interactions.csv (user_id, item_id, timestamp), corpus.jsonl (the items)
    ->  Problem("argan shampoo\\nwooden brush", answer="B09", metadata={"user": "A2K", "relevant": {"B09": 1.0}})

Each customer becomes a Group with no trace; the verifier `retrieval` finds items by the student's query.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from redistill.corpus.sources.queries import problem_of
from redistill.records import Dropped, Group
from redistill.retrieval import collection
from redistill.retrieval.histories import Cut, Users, histories, next_purchase


def purchase_history(
    *,
    folder: str,
    split: Literal["train", "test"] = "train",
    users: Users = "inductive",
    test_users: Annotated[float, Field(gt=0, lt=1)] = 0.1,
    last: Annotated[int, Field(gt=0)] = 10,
    separator: str = "\n",
    seed: int = 0,
    user_column: str = "user_id",
    item_column: str = "item_id",
    time_column: str = "timestamp",
) -> Iterator[Group | Dropped]:
    """Groups without traces, one per customer.

    folder: of interactions.jsonl, .csv or .tsv with corpus.jsonl, or made:shop. users: `inductive` asks for the last purchase, with
    test_users of the customers held out for the split test; `transductive` trains on the purchase before the last of all of them,
    and tests on the last. last: how many purchases are listed. Reasons: `held_out`, `not_held_out`, `short_history`, `unknown_item`.
    """
    titles = dict(collection.documents(folder))
    cut = Cut(split, users, test_users, last, seed, separator)
    for history in histories(folder, user_column=user_column, item_column=item_column, time_column=time_column):
        query = next_purchase(history, titles, cut)
        if isinstance(query, str):
            yield Dropped(history.row, "corpus", query, f"customer {history.user}")
        else:
            yield Group(problem_of(query, "purchase-history", user=query.id), ())

"""How much is drawn: few examples, the same every time, in `make test`; many, new ones every time, in `make soak`."""

import copy
import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

SOAK = bool(os.environ.get("REDISTILL_SOAK"))


def drawn(examples: int) -> settings:
    """Settings for a property: two fifths of `examples` in `make test`, a hundred times as many as these in a soak."""
    return settings(
        derandomize=not SOAK, deadline=None, max_examples=examples * 100 if SOAK else max(5, examples * 2 // 5), print_blob=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip


# whatever JSON can hold, and what Python's reader of it lets pass beside
ODD = st.one_of(
    st.none(), st.booleans(), st.sampled_from([0, -1, 10**30, 1.5, -0.0, 1e308, float("nan"), float("inf")]),
    st.sampled_from(["", " ", "4", "x" * 300, "\ud800", "\x00", "é\u202e\x1b[2J", "<think>", "</answer>", "\\boxed{", "{problem}", "null", "../.."]),
    st.just([]), st.just({}), st.just([[]]), st.just([None]), st.just({"role": "user"}), st.just({"role": ["user"], "content": {}}),
)  # fmt: skip
JSON = st.recursive(ODD, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "text", "role", "content"]), inner, max_size=3), max_leaves=6)  # fmt: skip


@st.composite
def corrupted(draw, value):
    """The value with one to three of its places replaced, removed, repeated or given something more."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        places = sorted(_places(value), key=str)
        if not places:
            break
        *parents, last = draw(st.sampled_from(places))
        inner = value
        for part in parents:
            inner = inner[part]
        kind = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add"]))
        if kind == "remove":
            del inner[last]
        elif kind == "add":
            inner.update({draw(st.sampled_from(["", "x", "role", "text"])): copy.deepcopy(draw(JSON))}) if isinstance(inner, dict) else inner.append(copy.deepcopy(draw(JSON)))  # fmt: skip
        else:
            inner[last] = copy.deepcopy(draw(JSON))
    return value


def _places(tree, here=()):
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield (*here, key)
        if isinstance(value, dict | list):
            yield from _places(value, (*here, key))

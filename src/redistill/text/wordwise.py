"""Token ids of many texts, a word at a time where the tokenizer allows it: a word that comes again is looked up.

    encode = WordwiseTokenizer(tokenizer)
    encode(["2 + 2 = 4", "3 + 2 = 5"])      ->  [array('i', [...]), array('i', [...])], as the tokenizer gives them

A tokenizer spends a second on a million characters of traces, and nearly all of their words have come before. Byte-level BPE cuts a
text into pieces before it looks any up, and the ids of a text are those of its pieces. The cuts known here (of GPT-2, SmolLM2, Qwen2
and Llama 3) have four kinds of places in common where a piece always ends, whatever stands further away:

    before a space, unless white space stands before it;   behind 0-9, before ASCII of another kind;
    between ASCII punctuation and 0-9;                     behind a-z or A-Z, before ASCII of another kind

so a text is cut there, and around added tokens, and each part has its ids for itself. All others go to the tokenizer whole: the texts of one
that cuts elsewise, those with an added token that takes white space around it too, and long ones.
"""

import json
import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from redistill.text.tokenizer_calls import CHARS_PER_CALL, calls

HELD_CHARS = 2_000_000  # of the words that are remembered: some 80 MB with their ids. More, and all are forgotten

_MARKS = r"!-/:-@\[-`{-~"
_OTHER = r"\x80-\U0010ffff"
# A word with what is before it, a number, marks before a number or a space; else as far as the next space behind no white space.
_WORDS = re.compile(
    rf"\s*(?:[{_MARKS}]*[A-Za-z]+(?![A-Za-z{_OTHER}])|[0-9]+(?![0-9{_OTHER}])|[{_MARKS}]+(?=[0-9 ]|\Z))"
    r"|\s*\S+(?:[^\S ]\s*\S+)*(?:(?= )|\s*\Z)|\s+"
)
# How Qwen2 and Llama 3 cut. Every alternative takes a space first or not at all.
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = QWEN2.replace(r"\p{N}|", r"\p{N}{1,3}|")


@dataclass(frozen=True, slots=True)
class _Rules:
    """Which texts of a tokenizer are cut. any_letter: others than ASCII too, since no normalizer makes those of an added token of
    them. added: finds added tokens. added_is_plain: each of them is taken as it stands, and the text around it for itself."""

    any_letter: bool
    added: re.Pattern[str]
    added_is_plain: bool


class WordwiseTokenizer:
    """The student's token ids of texts, without special tokens. Words are remembered from call to call; a copy in another process begins anew."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._memo: dict[str, bytes] = {}
        self._held = 0  # characters

    def __reduce__(self) -> tuple[type["WordwiseTokenizer"], tuple[Any]]:
        return WordwiseTokenizer, (self.tokenizer,)

    def __call__(self, texts: Sequence[str]) -> list["array[int]"]:
        """The ids of each text, as 4-byte integers."""
        words = {place: cut for place, text in enumerate(texts) if (cut := self._words(text)) is not None}
        self._learn(words.values())
        whole = [place for place in range(len(texts)) if place not in words]
        ids_by_place = dict(zip(whole, _whole(self.tokenizer, [texts[place] for place in whole]), strict=True))
        for place, parts in words.items():
            ids_by_place[place] = array("i", b"".join(map(self._memo.__getitem__, parts)))
        if self._held > HELD_CHARS:
            self._memo, self._held = {}, 0
        return [ids_by_place[place] for place in range(len(texts))]

    def _words(self, text: str) -> list[str] | None:
        """The text in parts that have its ids; None where it goes whole."""
        rules = self._rules
        if rules is None or len(text) > CHARS_PER_CALL or not (rules.any_letter or text.isascii()):
            return None
        if not rules.added.search(text):
            return _WORDS.findall(text)
        if not rules.added_is_plain:
            return None
        parts = rules.added.split(text)  # text and added tokens in turn
        return [word for at, part in enumerate(parts) for word in ([part] if at % 2 else _WORDS.findall(part))]

    @cached_property
    def _rules(self) -> "_Rules | None":
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None or not _has_places(backend):
            return None
        tokens = [token for token in backend.get_added_tokens_decoder().values() if token.content]
        longest_first = sorted((token.content for token in tokens), key=len, reverse=True)
        return _Rules(
            any_letter=backend.normalizer is None,
            added=re.compile(f"({'|'.join(map(re.escape, longest_first))})" if tokens else r"((?!))"),
            added_is_plain=not getattr(self.tokenizer, "split_special_tokens", False)
            and not any(token.lstrip or token.rstrip or token.single_word or token.normalized for token in tokens),
        )

    def _learn(self, texts: Iterable[list[str]]) -> None:
        """Remember the words that are new."""
        new = list(dict.fromkeys(word for words in texts for word in set(words).difference(self._memo)))
        if not new:
            return
        backend = self.tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = False
        for part in calls(new, len):  # twice as fast as through the tokenizer's own call
            for word, encoding in zip(part, backend.encode_batch(part, add_special_tokens=False), strict=True):
                self._memo[word] = array("i", encoding.ids).tobytes()
        self._held += sum(map(len, new))


def _whole(tokenizer: Any, texts: list[str]) -> list["array[int]"]:
    return [array("i", ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]] if texts else []


def _has_places(backend: Any) -> bool:
    """Whether its pieces end at all the places above, whatever stands around them."""
    model, cut, normalizer = (_state(getattr(backend, name)) for name in ("model", "pre_tokenizer", "normalizer"))
    if model.get("type") != "BPE" or model.get("dropout") or normalizer.get("type", "NFC") != "NFC":
        return False
    steps = cut["pretokenizers"] if cut.get("type") == "Sequence" else [cut]
    if not steps or steps[-1].get("type") != "ByteLevel" or steps[-1]["add_prefix_space"]:
        return False
    own = steps[-1].get("use_regex", True)
    before = [step for step in steps[:-1] if step != {"type": "Digits", "individual_digits": True}]
    return (not before and own) or (len(before) == 1 and not own and _is_known(before[0]))


def _is_known(step: dict[str, Any]) -> bool:
    return (
        step.get("type") == "Split"
        and step["pattern"].get("Regex") in (QWEN2, LLAMA3)
        and step["behavior"] == "Isolated"
        and not step["invert"]
    )


def _state(part: Any) -> dict[str, Any]:
    """What a part of a tokenizer is, {} of none. A model is described by its class, because its state holds the vocabulary."""
    if part is None:
        return {}
    if hasattr(part, "dropout"):
        return {"type": type(part).__name__, "dropout": part.dropout}
    state: dict[str, Any] = json.loads(part.__getstate__())
    return state

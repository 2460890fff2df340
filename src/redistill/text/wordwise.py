"""Token ids of many texts, a word at a time where the tokenizer allows it: a word that comes again is looked up.

    encode = WordwiseTokenizer(tokenizer)
    encode(["2 + 2 = 4", "3 + 2 = 5"])      ->  [array('i', [...]), array('i', [...])], as the tokenizer gives them

A tokenizer spends a second on a million characters of traces, and nearly all of their words have come before. Byte-level BPE cuts a
text into pieces before it looks any up, and the ids of a text are those of its pieces. The cuts known here (of GPT-2, SmolLM2, Qwen2
and Llama 3) have four kinds of places in common where a piece always ends, whatever stands further away:

    before a space, unless white space stands before it;   behind 0-9, before ASCII of another kind;
    between ASCII punctuation and 0-9;                     behind a-z or A-Z, before ASCII of another kind

so a text is cut there, and around added tokens, and each part has its ids for itself; also between two digits, where the tokenizer
takes each for itself. Only two neighbours decide, so the places of many texts are found at once, in a table over the kinds of two
bytes. All others go to the tokenizer whole: the texts of one that cuts elsewise, those with an added token that takes white space
around it too, and long ones.
"""

import itertools
import json
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from redistill.text.tokenizer_calls import CHARS_PER_CALL, calls

HELD_CHARS = 2_000_000  # of the words that are remembered: some 80 MB with their ids. More, and all are forgotten

# Kinds of bytes. OTHER: of what is not ASCII.
SPACE, WHITE, LETTER, DIGIT, MARK, CONTROL, OTHER = range(7)
_NOT_ASCII_SPACES = np.unique(
    [int.from_bytes(chr(c).encode()[-2:], "big") for c in range(128, 0x3001) if chr(c).isspace()]
)


def _kind(byte: int) -> int:
    sign = chr(byte)
    if byte > 127:
        return OTHER
    if sign.isspace():
        return SPACE if sign == " " else WHITE
    if sign.isalnum():
        return DIGIT if sign.isdigit() else LETTER
    return MARK if sign.isprintable() else CONTROL


_KINDS = np.array([_kind(byte) for byte in range(256)], dtype=np.uint8)
_PLACES = np.zeros((8, 8), dtype=bool)  # [kind of a byte, kind of the next]: whether a piece ends between them
_PLACES[[MARK, LETTER, DIGIT, CONTROL, OTHER], SPACE] = True
_PLACES[MARK, DIGIT] = True
for _before in (LETTER, DIGIT):
    _PLACES[_before, [kind for kind in (WHITE, LETTER, DIGIT, MARK, CONTROL) if kind != _before]] = True


# How Qwen2 and Llama 3 cut. Every alternative takes a space first or not at all.
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = QWEN2.replace(r"\p{N}|", r"\p{N}{1,3}|")
_SINGLE_DIGITS = {"type": "Digits", "individual_digits": True}


@dataclass(frozen=True, slots=True)
class _Rules:
    """Which texts of a tokenizer are cut. any_letter: others than ASCII too, since no normalizer makes those of an added token of
    them. added: finds added tokens. added_is_plain: each of them is taken as it stands, and the text around it for itself.
    places: _PLACES, and between two digits where each is a piece."""

    any_letter: bool
    places: np.ndarray
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
        parted = {place: parts for place, text in enumerate(texts) if (parts := self._parts(text)) is not None}
        whole = [place for place in range(len(texts)) if place not in parted]
        ids_by_place = dict(zip(whole, _whole(self.tokenizer, [texts[place] for place in whole]), strict=True))
        for places in calls(parted, lambda place: len(texts[place])):
            ids_by_place.update(zip(places, self._ids([parted[place] for place in places]), strict=True))
        return [ids_by_place[place] for place in range(len(texts))]

    def _parts(self, text: str) -> list[str] | None:
        """The text and the added tokens in it in turn; None where it goes whole."""
        rules = self._rules
        if rules is None or len(text) > CHARS_PER_CALL or not (rules.any_letter or text.isascii()):
            return None
        if not rules.added.search(text):
            return [text]
        return rules.added.split(text) if rules.added_is_plain else None

    def _ids(self, texts: Sequence[list[str]]) -> list["array[int]"]:
        """The ids of texts in parts, from those of their words."""
        assert self._rules is not None
        parts = [part.encode() for text in texts for part in text]
        ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
        added = np.concatenate([np.arange(len(text)) % 2 == 1 for text in texts])
        data = b"".join(parts)
        starts = _word_starts(data, ends, added, self._rules.places)
        words = pa.StringArray.from_buffers(
            len(starts) - 1, pa.py_buffer(starts), pa.py_buffer(data)
        ).dictionary_encode()
        distinct, number = words.dictionary.to_pylist(), words.indices.to_numpy()
        self._learn(distinct)
        known = [self._memo[word] for word in distinct]
        counts = np.array([len(ids) // 4 for ids in known], dtype=np.int64)
        firsts = np.cumsum(counts) - counts  # where the ids of each distinct word begin
        of_word = counts[number]
        before = np.concatenate([[0], np.cumsum(of_word)])  # ids before each word
        places = np.repeat(firsts[number] - before[:-1], of_word) + np.arange(before[-1])
        ids = np.frombuffer(b"".join(known), dtype=np.int32)[places]
        if self._held > HELD_CHARS:
            self._memo, self._held = {}, 0
        text_ends = ends[np.cumsum([len(text) for text in texts]) - 1]
        bounds = [0, *before[np.searchsorted(starts, text_ends)].tolist()]
        return [array("i", ids[start:end].tobytes()) for start, end in itertools.pairwise(bounds)]

    @cached_property
    def _rules(self) -> "_Rules | None":
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None or not _has_places(backend):
            return None
        tokens = [token for token in backend.get_added_tokens_decoder().values() if token.content]
        longest_first = sorted((token.content for token in tokens), key=len, reverse=True)
        return _Rules(
            any_letter=backend.normalizer is None,
            places=_places(backend),
            added=re.compile(f"({'|'.join(map(re.escape, longest_first))})" if tokens else r"((?!))"),
            added_is_plain=not getattr(self.tokenizer, "split_special_tokens", False)
            and not any(token.lstrip or token.rstrip or token.single_word or token.normalized for token in tokens),
        )

    def _learn(self, words: Sequence[str]) -> None:
        """Remember the words that are new."""
        new = [word for word in words if word not in self._memo]
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


def _word_starts(data: bytes, ends: np.ndarray, added: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(words + 1,): where each word of the parts in `data` starts, and at last the end. ends (parts,): of each part; added (parts,): which
    are added tokens, a word each."""
    kinds = _KINDS[np.frombuffer(data, dtype=np.uint8)]
    pairs = (kinds[:-1] << 3) | kinds[1:]
    cut = np.zeros(len(data) + 1, dtype=bool)
    cut[1:-1] = places.reshape(-1)[pairs]
    # white space that is not ASCII may stand before the space
    at = np.flatnonzero(pairs == OTHER << 3 | SPACE)
    signs = np.frombuffer(data, dtype=np.uint8).astype(np.uint16)
    cut[1 + at[np.isin((signs[at - 1] << 8) | signs[at], _NOT_ASCII_SPACES)]] = False
    starts = np.concatenate([[0], ends])
    for part in np.flatnonzero(added):
        cut[starts[part] : starts[part + 1]] = False
    cut[starts] = True
    return np.flatnonzero(cut).astype(np.int32)


def _whole(tokenizer: Any, texts: list[str]) -> list["array[int]"]:
    return [array("i", ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]] if texts else []


def _places(backend: Any) -> np.ndarray:
    """_PLACES, and between two digits where each of them is a piece."""
    cut = _state(backend.pre_tokenizer)
    steps = cut["pretokenizers"] if cut.get("type") == "Sequence" else [cut]
    places = _PLACES.copy()
    places[DIGIT, DIGIT] = _SINGLE_DIGITS in steps or any(
        _is_known(step) and step["pattern"]["Regex"] == QWEN2 for step in steps
    )
    return places


def _has_places(backend: Any) -> bool:
    """Whether its pieces end at all the places above, whatever stands around them."""
    model, cut, normalizer = (_state(getattr(backend, name)) for name in ("model", "pre_tokenizer", "normalizer"))
    if model.get("type") != "BPE" or model.get("dropout") or normalizer.get("type", "NFC") != "NFC":
        return False
    steps = cut["pretokenizers"] if cut.get("type") == "Sequence" else [cut]
    if not steps or steps[-1].get("type") != "ByteLevel" or steps[-1]["add_prefix_space"]:
        return False
    own = steps[-1].get("use_regex", True)
    before = [step for step in steps[:-1] if step != _SINGLE_DIGITS]
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

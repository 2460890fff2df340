"""Ids of texts that are put together of words: the tokenizer's own, whatever stands in the text."""

import itertools
import pickle
import random
import sys
from array import array
from unittest.mock import patch

import numpy as np
import pytest
from tokenizers import AddedToken, Regex, normalizers, pre_tokenizers

from bpe_students import CUTS, bpe, cut_of
from redistill.text import wordwise
from redistill.text.wordwise import WordwiseTokenizer

# what a cut may depend on: digits and letters of several scripts, marks, contractions, white space of every kind, an accent
SIGNS = [*"abzAZ019 \n\t\r.,'!(*=<>_`~", "  ", "\n\n", " \n", "'s", "'RE", "don't", "12", "3.5", "x^2", "é", "e\u0301", "ß", "\u0130"]  # fmt: skip
SIGNS += [
    "²",
    "½",
    "٣",
    "→",
    "≤",
    "…",
    "中文",
    "🙂",
    "\u00a0",
    "\u2003",
    "\u2028",
    "\x85",
    "\x1c",
    "\x00",
    "\x0b",
    "\u200b",
    "\u212a",
    "\u037e",
]
TEXTS = ["", " ", "\n", "It's 42.\n\n## Step 2: add 3²+4² = 25 → √25 = 5  ", "a.\n b", "e \u0301x", "½1 1½ a½ ½a"]


def random_texts(count=1500):
    rng = random.Random(0)
    return TEXTS + ["".join(rng.choices(SIGNS, k=rng.randint(1, 12))) for _ in range(count)]


def words_of(text: str, places: np.ndarray) -> list[str]:
    data = text.encode()
    starts = wordwise._word_starts(data, np.array([len(data)]), np.array([False]), places)
    return [data[start:end].decode() for start, end in itertools.pairwise(starts.tolist())]


@pytest.mark.parametrize("cut", CUTS)
def test_a_text_has_the_pieces_of_its_words(cut):
    pieces = cut_of(cut).pre_tokenize_str
    places = wordwise._places(bpe(cut_of(cut)).backend_tokenizer)
    for text in random_texts():
        words = words_of(text, places)
        assert "".join(words) == text
        assert [p for word in words for p, _ in pieces(word)] == [p for p, _ in pieces(text)], repr(text)


@pytest.mark.parametrize("normalizer", [None, normalizers.NFC()], ids=["as-it-is", "nfc"])
@pytest.mark.parametrize("cut", CUTS)
def test_ids_are_the_tokenizers(cut, normalizer):
    tokenizer = bpe(cut_of(cut))
    tokenizer.backend_tokenizer.normalizer = normalizer
    tokenizer.add_tokens(["K", "b z", "01"])  # Kelvin's sign becomes a K by NFC
    encode = WordwiseTokenizer(tokenizer)
    texts = [*random_texts(), "a K b", "a \u212a b", "<|end|>", "ab z", "2012"]
    with patch.object(wordwise, "HELD_CHARS", 100):  # forgets now and then
        found = [ids.tolist() for start in range(0, len(texts), 50) for ids in encode(texts[start : start + 50])]
    encode(["2 and"])
    assert found == tokenizer(texts, add_special_tokens=False)["input_ids"]
    assert set(encode._memo) >= {"2", " and"}  # it is cut
    assert [encode([]), encode([""]), encode(["", "2", ""])] == [
        [],
        [array("i")],
        [array("i"), array("i", tokenizer.encode("2")), array("i")],
    ]


def test_a_text_is_cut_where_two_neighbours_allow_it():
    digits = {name: wordwise._places(bpe(cut_of(name)).backend_tokenizer) for name in CUTS}
    for name, number in (("gpt-2", ["12"]), ("llama-bpe", ["12"]), ("smollm", ["1", "2"]), ("qwen2", ["1", "2"])):
        assert words_of("x12=(ab, c)\nd e", digits[name]) == ["x", *number, "=(ab", ",", " c", ")\nd", " e"]
    places = digits["gpt-2"]
    assert words_of("слово и\u00a0 x\u3000 yр q\u2003 é\x85 z", places) == [
        "слово",
        " и\u00a0 x\u3000 yр",
        " q\u2003 é\x85 z",
    ]
    assert words_of("a\x00b\x1c c  d", places) == ["a", "\x00b", "\x1c c", "  d"]
    every_space = {chr(sign).encode()[-2:] for sign in range(128, sys.maxunicode + 1) if chr(sign).isspace()}
    assert {int(sign).to_bytes(2, "big") for sign in wordwise._NOT_ASCII_SPACES} == every_space


CHATS = [
    "<|end|>",
    "<|user|>\nAdd 12<|end|>\n<|assistant|> 42 <|end|><|end|>",
    "a <|end|> b",
    "<|end|",
    "<|user|><|user|>x2",
    "<|user 12 and|>",
]


@pytest.mark.parametrize("flags", [{}, {"lstrip": True}, {"rstrip": True}, {"single_word": True}, {"normalized": True}])
@pytest.mark.parametrize("cut", CUTS)
def test_ids_of_chats_are_the_tokenizers(cut, flags):
    tokenizer = bpe(cut_of(cut))
    tokenizer.add_tokens(
        [AddedToken(name, special=True, normalized=False) for name in ("<|user|>", "<|assistant|>", "<|")]
    )
    tokenizer.add_tokens([AddedToken("12 and", **{"normalized": False, **flags})])
    rng = random.Random(1)
    parts = [*CHATS, "12 and", " 12 and ", *SIGNS]
    texts = CHATS + ["".join(rng.choices(parts, k=rng.randint(1, 6))) for _ in range(300)]
    encode = WordwiseTokenizer(tokenizer)
    found = [ids.tolist() for start in range(0, len(texts), 50) for ids in encode(texts[start : start + 50])]
    assert found == tokenizer(texts, add_special_tokens=False)["input_ids"]
    assert ("<|end|>" in encode._memo) == (not flags)


def test_special_tokens_that_are_to_be_split_are_split():
    tokenizer = bpe(cut_of("gpt-2"))
    tokenizer.split_special_tokens = True
    found = WordwiseTokenizer(tokenizer)(CHATS)
    assert [ids.tolist() for ids in found] == tokenizer(CHATS, add_special_tokens=False)["input_ids"]
    assert tokenizer.eos_token_id not in found[0]


def test_words_are_asked_for_once():
    tokenizer = bpe(cut_of("smollm"))
    encode = WordwiseTokenizer(tokenizer)
    encode(["Add 12 and 30", "and 12"])
    with patch.object(type(tokenizer), "__call__", side_effect=AssertionError("asked again")):
        again = encode(["Add 30 and 12 and 12"])
    assert [ids.tolist() for ids in again] == tokenizer(["Add 30 and 12 and 12"], add_special_tokens=False)["input_ids"]
    assert set(encode._memo) == {"Add", " 1", "2", " and", " 3", "0", "and"}
    assert pickle.loads(pickle.dumps(encode))._memo == {}


def test_what_is_remembered_has_a_bound():
    encode = WordwiseTokenizer(bpe(cut_of("gpt-2")))
    with patch.object(wordwise, "HELD_CHARS", 1000):
        for start in range(0, 3000, 10):
            encode([f"{number} is" for number in range(start, start + 10)])
            assert encode._held <= 1000
            assert encode._held == sum(map(len, encode._memo))


@pytest.mark.parametrize("cut", [
    pre_tokenizers.ByteLevel(add_prefix_space=True),
    pre_tokenizers.Whitespace(),
    pre_tokenizers.Metaspace(),
    pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"\w+ \w+|.|\n"), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]),
    pre_tokenizers.Sequence([pre_tokenizers.Split(" ", "merged_with_next"), pre_tokenizers.ByteLevel(add_prefix_space=False)]),
    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
], ids=str)  # fmt: skip
def test_a_tokenizer_that_cuts_elsewise_gets_texts_whole(cut):
    tokenizer = bpe(cut)
    encode = WordwiseTokenizer(tokenizer)
    texts = random_texts(200)
    assert [ids.tolist() for ids in encode(texts)] == tokenizer(texts, add_special_tokens=False)["input_ids"]
    assert encode._memo == {}


def test_a_long_text_goes_whole():
    tokenizer = bpe(cut_of("gpt-2"))
    encode = WordwiseTokenizer(tokenizer)
    text = "12 and 30 " * 30_000
    assert [ids.tolist() for ids in encode([text])] == tokenizer([text], add_special_tokens=False)["input_ids"]
    assert encode._memo == {}


def test_no_limit_of_an_earlier_call_cuts_a_word():
    tokenizer = bpe(cut_of("gpt-2"))
    tokenizer(["Add 12 and 30"], truncation=True, max_length=2, padding="max_length")
    found = WordwiseTokenizer(tokenizer)(["unheard-of words"])
    assert [ids.tolist() for ids in found] == tokenizer(["unheard-of words"], add_special_tokens=False)["input_ids"]

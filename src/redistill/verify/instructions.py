"""`instructions`: does an answer do what its prompt asked of its form? The 25 instructions of IFEval (Zhou et al. 2023, arXiv
2311.07911), each checked by a rule; what no rule can decide for sure is undecided.

    metadata    {"instructions": [{"id": "punctuation:no_comma"}, {"id": "length_constraints:number_words", "relation": "at least", "num_words": 300}]}
    verdict     correct where all are followed, incorrect where one certainly is not; score: the share that is followed

The rules are those of the benchmark's own checkers (its strict accuracy), written anew. Undecided are: sentences, where their number
is not certain without a trained splitter; words in capitals near the limit; and languages, unless the letters already speak against
it. Thinking in tags is not part of the answer.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from redistill.records import Outcome, Problem, Trace, Verdict
from redistill.text.thinking import read_thinking
from redistill.verify.relevance import INSTRUCTIONS

VERSION = "instructions 1"  # raise the number when what is counted changes
Rule = Callable[
    [str, Mapping[str, Any]], bool | None
]  # (answer, arguments) -> followed, or None where that is not certain


def instructions(problem: Problem, trace: Trace) -> Verdict:
    """Whether the answer follows every instruction of its problem. Reasons: `all_followed`, `not_followed: ID`, `not_certain: ID`,
    `no_instructions`, `unknown_instruction: ID`, `thinking_unclosed`, `empty`."""
    verdict = partial(Verdict, verifier="instructions", verifier_version=VERSION)
    listed = problem.metadata.get(INSTRUCTIONS)
    if not isinstance(listed, list) or not listed or not all(isinstance(one, Mapping) for one in listed):
        return verdict(Outcome.ungradable, None, "no_instructions")
    thought = read_thinking(trace.completion)
    if thought.state == "open":
        return verdict(Outcome.truncated, None, "thinking_unclosed")
    answer = thought.answer
    if not answer.strip():
        return verdict(Outcome.no_answer, None, "empty", score=0.0)
    results = dict[str, bool | None]()
    for number, one in enumerate(listed):
        id = str(one.get("id"))
        if id not in RULES:
            return verdict(Outcome.ungradable, None, f"unknown_instruction: {id[:60]}")
        try:
            results[f"{number} {id}"] = RULES[id](answer, one)
        except (KeyError, TypeError, ValueError):  # arguments that are not there, or of another kind
            return verdict(Outcome.ungradable, None, f"unknown_instruction: {id}")
    score = sum(followed is True for followed in results.values()) / len(results)
    broken = [name.partition(" ")[2] for name, followed in results.items() if followed is False]
    open_ones = [name.partition(" ")[2] for name, followed in results.items() if followed is None]
    if broken:
        return verdict(Outcome.incorrect, None, f"not_followed: {broken[0]}", score=score)
    if open_ones:
        return verdict(Outcome.ungradable, None, f"not_certain: {open_ones[0]}", score=score)
    return verdict(Outcome.correct, None, "all_followed", score=score)


# --- the rules ----------------------------------------------------------------------------------------------------------


def _compared(count: int, relation: Any, limit: Any) -> bool:
    """`less than` or `at least`."""
    if relation not in ("less than", "at least"):
        raise ValueError(f"no relation {relation!r}")
    return count < int(limit) if relation == "less than" else count >= int(limit)


def _between(low: int, high: int, relation: Any, limit: Any) -> bool | None:
    """The same of a number that lies between two: certain where both agree."""
    first, last = _compared(low, relation, limit), _compared(high, relation, limit)
    return first if first == last else None


def _occurrences(word: Any, text: str) -> int:
    return len(re.findall(re.escape(str(word).strip()), text, re.IGNORECASE))


def _keywords(text: str, given: Mapping[str, Any]) -> bool:
    return all(_occurrences(word, text) for word in given["keywords"])


def _frequency(text: str, given: Mapping[str, Any]) -> bool:
    return _compared(_occurrences(given["keyword"], text), given["relation"], given["frequency"])


def _forbidden(text: str, given: Mapping[str, Any]) -> bool:
    words = (re.escape(str(word)) for word in given["forbidden_words"])
    return not any(re.search(rf"\b{word}\b", text, re.IGNORECASE) for word in words)


def _letters(text: str, given: Mapping[str, Any]) -> bool:
    return _compared(
        text.lower().count(str(given["letter"]).strip().lower()), given["let_relation"], given["let_frequency"]
    )


def _words(text: str, given: Mapping[str, Any]) -> bool:
    return _compared(len(re.findall(r"\w+", text)), given["relation"], given["num_words"])


def _sentences(text: str, given: Mapping[str, Any]) -> bool | None:
    """At least one; at most as many as there are ends (. ! ? before white space or the end), and one more."""
    ends = len(re.findall(r"[.!?]+[\"')\]*_]*(?=\s|$)", text))
    return _between(1, ends + 1, given["relation"], given["num_sentences"])


def _paragraphs(text: str, given: Mapping[str, Any]) -> bool:
    """Parted by ***; an empty one counts at neither end, and is wrong between two others."""
    parts = [part.strip() for part in text.split("***")]
    inner = parts[1:-1]
    if len(parts) > 1 and not all(inner):
        return False
    return sum(map(bool, parts)) == int(given["num_paragraphs"])


def _first_word(text: str, given: Mapping[str, Any]) -> bool:
    """So many paragraphs between blank lines, and the n-th begins with the word, without quotes and the punctuation behind it."""
    parts = text.split("\n\n")
    count, place = sum(bool(part.strip()) for part in parts), int(given["nth_paragraph"])
    paragraph = parts[place - 1].strip() if place <= count else ""
    if not paragraph:
        return False
    word = paragraph.split()[0].strip().lstrip("'").lstrip('"')
    first = re.split(r"[.,?!'\"]", word)[0].lower()
    return count == int(given["num_paragraphs"]) and first == str(given["first_word"]).lower()


def _placeholders(text: str, given: Mapping[str, Any]) -> bool:
    return len(re.findall(r"\[[^\n\]]*\]", text)) >= int(given["num_placeholders"])


def _postscript(text: str, given: Mapping[str, Any]) -> bool:
    marker = str(given["postscript_marker"]).strip()
    known = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
    return bool(re.search(known.get(marker, re.escape(marker.lower())), text.lower()))


def _bullets(text: str, given: Mapping[str, Any]) -> bool:
    lines = [line.lstrip() for line in text.split("\n")]
    *before, last = lines  # a star alone is a point where another line follows
    stars = sum(line.startswith("*") and line[1:2] != "*" for line in before) + (
        last[:1] == "*" and last[1:2] not in ("", "*")
    )
    return stars + sum(line.startswith("-") for line in lines) == int(given["num_bullets"])


def _one_of_three(text: str, given: Mapping[str, Any]) -> bool:
    return any(f"My answer is {word}." in text for word in ("yes", "no", "maybe"))


def _highlights(text: str, given: Mapping[str, Any]) -> bool:
    """*one* and **one** alike; what stands in two stars is found by both patterns where it stands between further stars."""
    single = (one.strip("*").strip() for one in re.findall(r"\*[^\n*]*\*", text))
    double = (one[2:-2].strip() for one in re.findall(r"\*\*[^\n*]*\*\*", text))
    return sum(map(bool, single)) + sum(map(bool, double)) >= int(given["num_highlights"])


def _sections(text: str, given: Mapping[str, Any]) -> bool:
    mark = re.escape(str(given["section_spliter"]).strip())
    return len(re.findall(rf"{mark}\s?\d+", text)) >= int(given["num_sections"])


def _json(text: str, given: Mapping[str, Any]) -> bool:
    text = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def _title(text: str, given: Mapping[str, Any]) -> bool:
    return any(found.lstrip("<").rstrip(">").strip() for found in re.findall(r"<<[^\n]+>>", text))


def _two_responses(text: str, given: Mapping[str, Any]) -> bool:
    parts = [part.strip() for part in text.split("******")]
    if not all(parts[1:-1]):
        return False
    said = [part for part in parts if part]
    return len(said) == 2 and said[0] != said[1]


def _repeats_prompt(text: str, given: Mapping[str, Any]) -> bool:
    return text.strip().lower().startswith(str(given["prompt_to_repeat"]).strip().lower())


def _ends(text: str, given: Mapping[str, Any]) -> bool:
    return text.strip().strip('"').lower().endswith(str(given["end_phrase"]).strip().lower())


def _capital_words(text: str, given: Mapping[str, Any]) -> bool | None:
    """Every chunk in capitals is a word or more; no run of letters in capitals is more than two (CANNOT is CAN NOT to the checker)."""
    low = sum(chunk.isupper() for chunk in text.split())
    high = 2 * sum(run.isupper() for run in re.findall(r"[^\W_]+", text))
    return _between(low, max(low, high), given["capital_relation"], given["capital_frequency"])


def _upper(text: str, given: Mapping[str, Any]) -> bool | None:
    return None if text.isupper() else False


def _lower(text: str, given: Mapping[str, Any]) -> bool | None:
    return None if text.islower() else False


def _language(text: str, given: Mapping[str, Any]) -> bool | None:
    """Undecided, but for a language of another script than all letters are of."""
    script = _SCRIPTS.get(str(given["language"]))
    letters = [character for character in text if character.isalpha()]
    if script is None or not letters:
        return None
    return False if not any(re.match(script, character) for character in letters) else None


_SCRIPTS = {
    **dict.fromkeys(("ar", "fa", "ur"), r"[\u0600-\u06ff]"), **dict.fromkeys(("hi", "mr", "ne"), r"[\u0900-\u097f]"),
    "bn": r"[\u0980-\u09ff]", "pa": r"[\u0a00-\u0a7f]", "gu": r"[\u0a80-\u0aff]", "ta": r"[\u0b80-\u0bff]", "te": r"[\u0c00-\u0c7f]",
    "kn": r"[\u0c80-\u0cff]", "th": r"[\u0e00-\u0e7f]", "ko": r"[\uac00-\ud7af]", "ja": r"[\u3040-\u30ff\u4e00-\u9fff]",
    "zh": r"[\u4e00-\u9fff]", **dict.fromkeys(("ru", "bg", "uk", "mk"), r"[\u0400-\u04ff]"), "el": r"[\u0370-\u03ff]", "he": r"[\u0590-\u05ff]",
}  # fmt: skip


def _no_comma(text: str, given: Mapping[str, Any]) -> bool:
    return "," not in text


def _quoted(text: str, given: Mapping[str, Any]) -> bool:
    text = text.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


RULES: dict[str, Rule] = {
    "keywords:existence": _keywords,
    "keywords:frequency": _frequency,
    "keywords:forbidden_words": _forbidden,
    "keywords:letter_frequency": _letters,
    "language:response_language": _language,
    "length_constraints:number_sentences": _sentences,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_words": _words,
    "length_constraints:nth_paragraph_first_word": _first_word,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": _one_of_three,
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": _json,
    "detectable_format:title": _title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeats_prompt,
    "startend:end_checker": _ends,
    "change_case:capital_word_frequency": _capital_words,
    "change_case:english_capital": _upper,
    "change_case:english_lowercase": _lower,
    "punctuation:no_comma": _no_comma,
    "startend:quotation": _quoted,
}

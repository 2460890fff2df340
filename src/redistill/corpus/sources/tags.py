"""The tags of reasoning data -> (thinking, answer part), and back as this house writes them: <think>...</think> first.

<think>2+2=4</think> 4                                                      ->  ("2+2=4", "4")
<think>2+2=4</think><answer>4</answer>                                      ->  ("2+2=4", "4")
<|begin_of_thought|>2+2=4<|end_of_thought|> <|begin_of_solution|>4<|end_of_solution|>   ->  ("2+2=4", "4")
2+2 is 4                                                                    ->  (None, "2+2 is 4")
"""

from redistill.corpus.sources.fields import RowError

_THOUGHT = (("<think>", "</think>"), ("<|begin_of_thought|>", "<|end_of_thought|>"))
_ANSWER = (("<answer>", "</answer>"), ("<|begin_of_solution|>", "<|end_of_solution|>"))


def split(completion: str) -> tuple[str | None, str]:
    """(thinking, answer part), both stripped; thinking is None where there are no tags of thought.

    Refused `broken_tags`: a tag without its partner, tags twice or in the wrong order, text before the thinking or
    around a tagged answer, or nothing after the thinking.
    """
    text, thinking = completion.strip(), None
    for opening, closing in _THOUGHT:
        if opening in text or closing in text:
            before, thinking, text = _cut(text, opening, closing)
            if before:
                raise RowError("broken_tags")
            break
    for opening, closing in _ANSWER:
        # Plain text may speak of <answer> or hold it as code; only around the whole of the rest is it a tag.
        if text.startswith(opening) or text.endswith(closing):
            before, answer, after = _cut(text, opening, closing)
            if before or after:
                raise RowError("broken_tags")
            text = answer
            break
    if thinking is not None and not text:
        raise RowError("broken_tags")
    return thinking, text


def join(thinking: str | None, answer: str) -> str:
    """The completion in the form of DeepSeek-R1 and of the REDI paper's data."""
    return answer if thinking is None else f"<think>\n{thinking}\n</think>\n\n{answer}"


def _cut(text: str, opening: str, closing: str) -> tuple[str, str, str]:
    """(before, inside, after) of the one pair of these tags."""
    if text.count(opening) != 1 or text.count(closing) != 1 or text.index(opening) > text.index(closing):
        raise RowError("broken_tags")
    before, rest = text.split(opening)
    inside, after = rest.split(closing)
    return before.strip(), inside.strip(), after.strip()

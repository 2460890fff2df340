"""The tags of reasoning data -> (thinking, answer part), and back as this house writes them: <think>...</think> first.

<think>2+2=4</think> 4                                                      ->  ("2+2=4", "4")
2+2=4</think> 4                                                             ->  ("2+2=4", "4"): the template opened it
<think>2+2=4</think><answer>4</answer>                                      ->  ("2+2=4", "4")
<|begin_of_thought|>2+2=4<|end_of_thought|> <|begin_of_solution|>4<|end_of_solution|>   ->  ("2+2=4", "4")
2+2 is 4                                                                    ->  (None, "2+2 is 4")
"""

from redistill.corpus.sources.rows import RowError
from redistill.text.thinking import thinking_tags

_ANSWER = (
    ("<answer>", "</answer>"),
    ("<|begin_of_solution|>", "<|end_of_solution|>"),
    ("<response>", "</response>"),
)


def split(completion: str) -> tuple[str | None, str]:
    """(thinking, answer part), both stripped; thinking is None where there are no tags of thought.

    A closing tag alone ends thinking that the chat template had opened. The tags are those of text/thinking.py, where a tag
    that a sentence only mentions counts for nothing. RowError `broken_tags`: an opening tag without its partner, tags twice
    or in the wrong order, text before the thinking or around a tagged answer, or nothing after the thinking.
    """
    text, thinking = completion.strip(), None
    if tags := list(thinking_tags(text)):
        first, last = tags[0], tags[-1]
        if not last.closes or len(tags) > 2 or (len(tags) == 2 and (first.closes or first.name != last.name)):
            raise _broken(f"{', '.join(text[tag.start : tag.end] for tag in tags[:4])} are not a pair")
        if len(tags) == 2 and text[: first.start].strip():
            raise _broken(f"there is text before {text[first.start : first.end]}")
        thinking = text[first.end if len(tags) == 2 else 0 : last.start].strip()
        text = text[last.end :].strip()
    for opening, closing in _ANSWER:
        # Plain text may speak of <answer> or hold it as code; only around the whole of the rest is it a tag.
        if text.startswith(opening) or text.endswith(closing):
            before, answer, after = _cut(text, opening, closing)
            if before or after:
                raise _broken(f"there is text around {opening}")
            text = answer
            break
    if thinking is not None and not text:
        raise _broken("there is no answer after the thinking")
    return thinking, text


def join(thinking: str | None, answer: str) -> str:
    """The completion in the form of DeepSeek-R1 and of the REDI paper's data."""
    return answer if thinking is None else f"<think>\n{thinking}\n</think>\n\n{answer}"


def with_thinking(text: str, thinking: str | None) -> str:
    """A completion whose thinking came in a field of its own. Thinking without an answer stays open, as it was cut.

    RowError `two_thinkings` where the text holds other thinking already: nobody can know which one led to the answer.
    """
    thinking = (thinking or "").strip()
    if not thinking:
        return text
    inline, closed, answer = text.partition("</think>")
    own = inline.partition("<think>")[2] if "<think>" in inline else inline
    if closed or "<think>" in text:
        if own.strip() == thinking:
            return text
        if own.strip():
            raise RowError(
                "two_thinkings", "the thinking in <think> differs from the reasoning field; keep one of them"
            )
        text = answer
    return join(thinking, text.strip()) if text.strip() else f"<think>\n{thinking}"


def is_unopened(text: str) -> bool:
    """True where thinking ends that nothing in the text began: the chat template had opened it."""
    return "<think>" not in text.partition("</think>")[0] and "</think>" in text


def opened(text: str) -> str:
    """The same text with `<think>` before it, where thinking ends that nothing in the text began."""
    if not is_unopened(text):
        return text
    return f"<think>{text}" if text.startswith("\n") else f"<think>\n{text}"


def _broken(why: str) -> RowError:
    return RowError("broken_tags", f"{why}; write the thinking once, in <think> and </think> before the answer")


def _cut(text: str, opening: str, closing: str) -> tuple[str, str, str]:
    """(before, inside, after) of the one pair of these tags."""
    if text.count(opening) != 1 or text.count(closing) != 1 or text.index(opening) > text.index(closing):
        raise _broken(f"{opening} and {closing} are not a pair")
    before, rest = text.split(opening)
    inside, after = rest.split(closing)
    return before.strip(), inside.strip(), after.strip()

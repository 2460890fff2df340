"""Problem -> prompt text. One function renders every prompt, of training and of evaluation; they differ only where a recipe
says so.

    render(problem, TEMPLATES["plain"])   ->  "What is 2+2?\n\nReason step by step and put ... \\boxed{}.\n\n"

A template is text with one `{problem}`; the chat template of the tokenizer, where a recipe asks for it, is passed in
as a function, because this file knows no tokenizer.
"""

from collections.abc import Callable, Sequence
from typing import Any

from redistill.errors import OperatorError
from redistill.records import Problem
from redistill.text.conversations import conversation_of, conversation_prompt
from redistill.text.image_marks import image_mark, unmarked
from redistill.text.judgements import VERDICT_LINE

# The paper's instruction for evaluation (Xu et al. 2025), to the letter of its code, two spaces included; the same text as
# open-r1's MATH-500 prompt in lighteval.
PAPER_INSTRUCTION = (
    "Solve the following math problem efficiently and clearly.  The last line of your response should be of the "
    "following format: 'Therefore, the final answer is: $\\boxed{ANSWER}$. I hope it is correct' (without quotes) "
    "where ANSWER is just the final number or expression that solves the problem. Think step by step before answering."
)


def render(
    problem: Problem,
    template: str,
    *,
    chat: Callable[..., str] | None = None,
    images: bool = False,
    shots: Sequence[tuple[str, str]] = (),
) -> str:
    """The prompt text of a problem: the template, then the chat template where given.

    Only the first `{problem}` of the template is replaced, and nothing inside the statement is interpreted, so braces
    and template marks in a problem stay what they are. images: the student reads them; their marks (text/image_marks.py)
    then stand where the template says `{image}`, and before everything else where it does not. A conversation of several turns is
    written by the chat template alone (text/conversations.py). shots: worked examples that stand before the problem in the same
    template; in a chat they are earlier turns.
    """
    if (conversation := conversation_of(problem)) is not None:
        return conversation_prompt(problem, conversation, chat)
    before, mark, after = template.partition("{problem}")
    shown = "".join(image_mark(image.sha256) for image in problem.images) if images else ""
    if IMAGE not in before + after:
        before = shown + before
    before, after = before.replace(IMAGE, shown, 1), after.replace(IMAGE, shown, 1)
    text = before + unmarked(problem.statement) + after if mark else before
    if not shots:
        return chat(text) if chat else text
    asked = [(f"{before}{question}{after}", answer) for question, answer in shots]
    if chat:
        turns = [turn for question, answer in asked for turn in (("user", question), ("assistant", answer))]
        return chat([{"role": role, "content": said} for role, said in [*turns, ("user", text)]])
    return "".join(f"{question}{' ' * (not question[-1:].isspace())}{answer}\n\n" for question, answer in asked) + text


IMAGE = "{image}"  # in a template: the place of a problem's images


def as_chat(
    tokenizer: Any, said: str | list[dict[str, Any]], *, tools: Any = None, add_generation_prompt: bool = True
) -> str:
    """A user's message, or the messages of a conversation, in the tokenizer's chat template, ready for the assistant's turn."""
    messages = [{"role": "user", "content": said}] if isinstance(said, str) else said
    names = {"tools": tools} if tools else {}
    return rendered_chat(tokenizer, messages, add_generation_prompt=add_generation_prompt, **names)


def rendered_chat(tokenizer: Any, messages: list[dict[str, Any]], *, add_generation_prompt: bool, **names: Any) -> str:
    """Messages as the tokenizer's chat template writes them, in transformers' sandbox; `names` are known to the template.

    OperatorError where the template breaks off: it is a program, and may raise anything.
    """
    try:
        return str(
            tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=add_generation_prompt, **names
            )
        )
    except Exception as error:
        why = " ".join(str(error).split())[:200]
        raise OperatorError(
            f"prompt.chat: the student's chat template cannot be rendered ({why}); fix it, or set prompt.chat to false."
        ) from error


# Rewriting a query, and guessing the next purchase, in the manner of Rec-R1 (arXiv 2503.24289): think, then a JSON query in answer tags,
# which is the form that the verifier `retrieval` asks for.
QUERY_REWRITE = (
    "You write queries for a search engine. Rewrite the user's query so that the search engine finds the documents that answer it: add "
    "the words that such documents use.\n\nUser's query:\n```\n{problem}\n```\n\n"
)
NEXT_ITEM = (
    "You help customers of a shop. From what a customer bought, in order, infer what they buy next, and write a query with which a search "
    "over the shop's items finds it.\n\nPurchases:\n```\n{problem}\n```\n\n"
)
QUERY_FORM = (
    "Show your reasoning in <think> </think> tags. Then write the final query as JSON in <answer> </answer> tags: "
    '<think> your reasoning </think> <answer>{"query": "..."}</answer>\n\n'
)

# A step of a solution is judged in writing, after R-PRM (arXiv 2503.21295): five headed parts, a conclusion and a fixed last line, in
# our own words. The problem of a source `step-judgements` holds the question, the previous steps and the step to judge.
STEP_JUDGEMENT = (
    "You are a careful teacher who checks one step of a student's solution. You are given the question, the student's previous steps "
    "and the step to judge, called Now Step. Write your analysis under these five headings:\n"
    "1. Previous Steps: go through them one after the other and say of each whether it holds.\n"
    "2. Purpose: say what the Now Step does, and which part of the question it is for.\n"
    "3. Data: name every number and fact that the Now Step uses, where it comes from, and whether it is used as it was given.\n"
    "4. Consistency: say whether the Now Step agrees with the steps before it and with itself.\n"
    "5. Calculation: do every calculation of the Now Step once more, where you can by the inverse operation.\n"
    "Then write a conclusion. Its last line must be exactly this sentence, followed by Yes or No and nothing else:\n"
)

# A conversation of two roles that never names the answer's tag, after VisualThinker-R1-Zero (arXiv 2503.05132), in our own words; the
# thought is opened by `evaluate.prefill: "<think>"`, which the format reward counts as part of the completion.
VISUAL_THINKER = (
    "{image}This is a conversation between a User and an Assistant. The User asks a question about the image. The Assistant first thinks "
    "through the reasoning in its mind, and then gives the User the answer.\nUser: {problem}\nAssistant: Let me solve this step by step.\n"
)
# After ThinkLite-VL (arXiv 2504.07934), in our own words: thoughts in tags, the answer in a box.
THINKLITE = (
    "{image}{problem}\n\nFirst think about the question in <think> </think> tags, step by step. Then give the final answer in "
    "\\boxed{}.\n\n"
)

# Templates by name; each holds exactly one {problem}. A recipe may also write its own text with {problem} in it.
TEMPLATES: dict[str, str] = {
    "bare": "{problem}",
    "plain": "{problem}\n\nReason step by step and put the final answer in \\boxed{}.\n\n",
    "paper": PAPER_INSTRUCTION + "\n\n{problem}\n\n",
    "json": '{problem}\n\nReason step by step. Answer as JSON: {"reasoning": "...", "answer": "..."}\n\n',
    "answer-tag": "{problem}\n\nReason step by step and put the final answer in <answer> </answer> tags.\n\n",
    "hashes": "{problem}\n\nReason step by step. Write the final answer alone on the last line, after ####.\n\n",
    "question-answer": "Question: {problem}\nAnswer:",
    "choice": "{problem}\n\nReason step by step and put the letter of the right answer in \\boxed{}.\n\n",
    "step-judgement": f"{STEP_JUDGEMENT}{VERDICT_LINE}\n\n{{problem}}\n\n",
    "query-rewrite": QUERY_REWRITE + QUERY_FORM,
    "next-item": NEXT_ITEM + QUERY_FORM,
    "visual-thinker": VISUAL_THINKER,
    "thinklite": THINKLITE,
}

# Templates that end otherwise as the message of a chat: nothing has to part the problem from the completion there.
CHAT_TEMPLATES: dict[str, str] = {"paper": PAPER_INSTRUCTION + "\n\n{problem}"}


# Where a template asks for the answer to stand: the anchors that a strict parse accepts (verify/answers.py).
ASKED_ANCHORS: dict[str, tuple[str, ...]] = {
    "plain": ("boxed",),
    "paper": ("boxed",),
    "json": ("json",),
    "answer-tag": ("answer_tag",),
    "hashes": ("hashes",),
    "choice": ("boxed",),
    "visual-thinker": ("answer_tag",),
    "thinklite": ("boxed",),
}

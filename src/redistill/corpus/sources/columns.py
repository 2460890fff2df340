"""Names that people give to columns, and words that they write into them: a new one is a word in a table here.

The names are compared as they stand, the words in lower case. Order counts: of several the first is taken.
"""

import re

# --- which column is what (layouts.py tries these; the first word of an option's name is the key) --------------------

NAMES: dict[str, tuple[str, ...]] = {
    "problem": ("problem", "question", "prompt", "instruction", "query", "input", "statement", "Question", "Problem"),
    "prompt": (
        "prompt", "problem", "question", "instruction", "query", "input", "Question", "Problem", "messages", "conversations",
    ),
    "input": ("input",),
    "answer": (
        "answer", "gold", "gold_answer", "ground_truth", "reference_answer", "expected_answer", "final_answer", "target",
        "gold_solution", "gts", "gt", "correct_answer", "ref_answer", "reward_model", "gold_standard_solution", "verification_info", "Answer", "label", "solution",
    ),
    "generations": ("generations", "responses", "completions", "outputs", "samples", "candidates", "choices", "traces"),
    "completions": (
        "completions", "responses", "generations", "outputs", "samples", "candidates", "choices", "completion", "response",
        "generation", "output", "generated_solution", "generated_text", "model_output", "prediction", "llm_response", "model_response", "Response", "text",
    ),
    "labels": (
        "labels", "label", "correct", "is_correct", "kto_tag", "acc", "correctness", "grade", "rewards", "reward", "verifier_scores", "score",
    ),
    "label": ("label", "labels", "correct", "is_correct", "kto_tag", "acc"),
    "messages": ("messages", "contents", "conversation", "chat", "dialog", "dialogue"),
    "conversations": ("conversations", "conversation"),
    "chosen": ("chosen", "chosen_response", "response_chosen", "preferred", "preferred_output", "messages", "conversations", "response", "output"),
    "rejected": (
        "rejected", "rejected_response", "rejected_messages", "response_rejected", "dispreferred", "non_preferred_output",
    ),
}  # fmt: skip
CONVERSATIONS = ("messages", "conversations")
# A column of another name holds completions where its texts look like what a model wrote, unless it is called the reference.
MODEL_TEXT = re.compile(
    r"\\boxed\s*\{|</?think(?:ing)?>|<\|begin_of_thought|<answer>|^#### \S|\bthe (?:final )?answer is\b",
    re.IGNORECASE | re.MULTILINE,
)
REFERENCE = re.compile(
    r"gold|solution|answer|reference|truth|expected|target|prompt|question|problem|instruction|reflection|critique|judge",
    re.IGNORECASE,
)
TRACE_COLUMNS = frozenset(
    name for word in ("generations", "completions", "messages", "conversations", "chosen", "rejected") for name in NAMES[word]
)  # fmt: skip

ASKED = frozenset(name for word in ("problem", "prompt") for name in NAMES[word])

# --- inside a row, a turn or a generation ---------------------------------------------------------------------------

ROLE = ("role", "from", "speaker")
TURN_TEXT = ("content", "value", "text", "parts")
GENERATION_TEXT = (
    "text", "content", "completion", "response", "generation", "output", "generated_text", "message", "messages", "value",
)  # fmt: skip
THINKING = (
    "reasoning_content", "reasoning", "thinking", "thinking_content", "reasoning_text", "reasoning_trace", "thinking_trajectory",
    "reasoning_details", "think_content", "thoughts", "thought", "chain_of_thought", "cot", "Reasoning", "Complex_CoT", "complex_cot",
    "thinking_process",
)  # fmt: skip
# A column called `reasoning` may also say whether or how long the model was asked to think.
SETTINGS = frozenset(
    ("on", "off", "true", "false", "yes", "no", "none", "null", "auto", "low", "medium", "high", "minimal", "xhigh", "enabled",
     "disabled", "0", "1")
)  # fmt: skip
TOOL_CALLS = ("tool_calls", "function_call", "tool_call")
LABELS = (
    "correct", "is_correct", "label", "labels", "correctness", "kto_tag", "is_verified", "verified", "passed", "acc",
    "symbolic_correct", "judge_correct", "desirable",
)  # fmt: skip
FINISH = ("finish_reason", "finish_reasons", "stop_reason", "finishReason", "finished_reason")
TRUNCATED = ("truncated", "is_truncated")
COMPLETE = ("is_reasoning_complete", "is_complete")
AUTHORS = ("teacher", "model", "model_name", "generator", "generation_model", "Model")
NO_GOLD = frozenset(("none", "null", "nan", "n/a", "<na>"))  # what programs write for a missing answer
GOLD_FIELDS = (
    "ground_truth",
    "answer",
    "final_answer",
    "value",
    "gold",
    "text",
    "solution",
    "target",
    "reference_answer",
)

# --- words ------------------------------------------------------------------------------------------------------------

ROLES = {
    "user": "user", "human": "user", "prompter": "user", "question": "user", "customer": "user", "instruction": "user",
    "assistant": "assistant", "gpt": "assistant", "model": "assistant", "bot": "assistant", "chatgpt": "assistant", "ai": "assistant",
    "chatbot": "assistant", "bing": "assistant", "response": "assistant", "answer": "assistant",
    "system": "system", "developer": "system", "context": "system",
    "tool": "tool", "function": "tool", "observation": "tool", "ipython": "tool", "tool_response": "tool", "tool_result": "tool",
    "environment": "tool", "function_call": "call", "tool_call": "call",
}  # fmt: skip
LABEL_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("true", "1", "1.0", "yes", "y", "t", "correct", "right", "good", "pass", "passed", "accepted", "accept", "chosen",
                     "desirable", "positive", "ok", "verified", "success"), True),
    **dict.fromkeys(("false", "0", "0.0", "no", "n", "f", "incorrect", "wrong", "bad", "fail", "failed", "rejected", "reject",
                     "undesirable", "negative", "not correct"), False),
    **dict.fromkeys(("", "none", "null", "nan", "unknown", "n/a", "na", "undecided"), None),
}  # fmt: skip
FINISH_WORDS = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence", "endoftext", "complete", "completed", "finished", "done",
                     "end", "end_of_text", "finish"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "max_length", "max_new_tokens", "max_output_tokens", "model_length", "truncated",
                     "incomplete", "token_limit", "context_length", "model_context_window_exceeded", "cutoff"), "length"),
}  # fmt: skip

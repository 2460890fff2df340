"""The tables of a recipe that name a model: the student, and the teachers of a student's own answers.

{model: HuggingFaceTB/SmolLM2-135M-Instruct}                       a student, or a teacher in this process
{base_url: "http://127.0.0.1:8000/v1", model: big}                 a teacher on a server
{self: now, context: right-trace}                                  the student as its own teacher
{by_source: {gsm8k: ..., math: ...}}                               one of several, by the source of a problem
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from redistill.config.plugin_tables import Settings
from redistill.safety.paths import REVISION

Revision = Annotated[str, Field(pattern=f"^{REVISION.pattern}$")]  # of the hub


class StudentSettings(Settings):
    """The model to train: `model` is a folder, a hub id, a .gguf file or `package:NAME` (a .gguf inside an installed
    Python package); or `from_config` builds one from nothing with a character tokenizer over `alphabet`."""

    model: str | None = None
    revision: Revision | None = None
    from_config: dict[str, Any] | None = None
    alphabet: str | None = None
    config_edits: dict[str, Any] = Field(default_factory=dict)
    # the token that ends a completion, or `chat-template` for the one that ends the assistant's turn there; default: eos
    end_of_turn: str | None = None
    # of an image-text student: options of its image processor (max_pixels, min_pixels), and the most images of a prompt
    image_processor: dict[str, Any] = Field(default_factory=dict)
    max_images: int | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _one_origin(self) -> "StudentSettings":
        if (self.model is None) == (self.from_config is None):
            raise ValueError("write either `model` (a folder, hub id or .gguf) or `from_config`")
        if self.from_config is not None and not self.alphabet:
            raise ValueError("`from_config` needs `alphabet`, the characters of its tokenizer")
        return self


class ImageSettings(Settings):
    """What one image of a problem may cost; a row with a larger one is dropped."""

    max_megabytes: float = Field(32, gt=0, le=1024)  # of its file
    max_megapixels: float = Field(50, gt=0, le=1000)  # that it unfolds to


class ServerTeacher(Settings):
    """A teacher on an OpenAI-compatible server that returns the log-probs of the tokens it is sent."""

    base_url: str
    model: str
    # vLLM's field `prompt_logprobs`, or OpenAI's completions with `echo` and `logprobs`
    reads: Literal["prompt-logprobs", "echo"] = "prompt-logprobs"
    key_env: str | None = (
        None  # the environment variable that holds the key; default: the one of every server (io/api_keys.py)
    )
    concurrency: int = Field(8, gt=0)
    retries: int = Field(5, ge=0)
    timeout_seconds: float = Field(600.0, gt=0)


class SelfTeacher(Settings):
    """The student itself as teacher, which is shown a right answer before it says how likely the sampled one is."""

    self: Literal["now", "start"]  # as it is when it samples the round, or as it was when the stage began
    context: Literal["right-trace", "own-right-answer"]  # of the corpus, or another answer of the same round
    template: str = "{problem}\n\nHere is a correct solution:\n\n{context}\n\nNow solve the problem yourself."

    @field_validator("template")
    @classmethod
    def _has_both(cls, value: str) -> str:
        if value.count("{problem}") != 1 or value.count("{context}") != 1:
            raise ValueError("write {problem} and {context} in the template, each once")
        return value


def _kind_of_teacher(value: Any) -> str:
    """Which table a teacher is, by the key that only it has."""
    known = {"by_source": TeachersBySource, "base_url": ServerTeacher, "self": SelfTeacher}
    if isinstance(value, str):
        return "stage"
    kinds = [k for k, kind in known.items() if isinstance(value, kind) or (isinstance(value, Mapping) and k in value)]
    return kinds[0] if kinds else "model"


_OneTeacher = (
    Annotated[str, Tag("stage")]
    | Annotated[StudentSettings, Tag("model")]
    | Annotated[ServerTeacher, Tag("base_url")]
    | Annotated[SelfTeacher, Tag("self")]
)


class TeachersBySource(Settings):
    """A teacher for each source of problems."""

    by_source: dict[str, Annotated[_OneTeacher, Discriminator(_kind_of_teacher)]] = Field(min_length=1)


AnyTeacher = Annotated[_OneTeacher | Annotated[TeachersBySource, Tag("by_source")], Discriminator(_kind_of_teacher)]

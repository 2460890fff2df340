"""Prompts -> Traces: sampling a student. An engine takes requests and returns one sample each, in order."""

from redistill.rollout.guided import guided
from redistill.rollout.journal import draw
from redistill.rollout.openai_engine import TRANSPORT, openai_engine
from redistill.rollout.requests import Finished, Request, Sample, Sampling, Student, requests_for, traces_of
from redistill.rollout.scripted import scripted
from redistill.rollout.transformers_engine import transformers_engine

__all__ = [
    "ENGINES",
    "IN_PROCESS",
    "TRANSPORT",
    "Finished",
    "Request",
    "Sample",
    "Sampling",
    "Student",
    "draw",
    "requests_for",
    "traces_of",
]

ENGINES = {
    "transformers": transformers_engine,
    "openai": openai_engine,
    "guided": guided,
    "scripted": scripted,
}
IN_PROCESS = ("transformers", "guided")  # engines that read the prompt with the student's own tokenizer

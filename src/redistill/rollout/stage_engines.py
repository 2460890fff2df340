"""Who samples in a training stage with `rollouts`: this process, or a server that is given the student's weights before each round.

    rollouts:
      engine: {name: openai, base_url: "http://127.0.0.1:8000/v1", refresh: vllm-reload}

How a server takes new weights is its own affair, so `refresh` names it:

    reload-folder   the request names the folder, and the server loads what it has not loaded yet (`transformers serve`)
    vllm-reload     POST /collective_rpc: reload_weights from the folder, then /reset_prefix_cache (VLLM_SERVER_DEV_MODE=1)
    vllm-lora       POST /v1/load_lora_adapter with the adapter alone (VLLM_ALLOW_RUNTIME_LORA_UPDATING=1); of stages with `lora`
    sglang-disk     POST /update_weights_from_disk
    none            nothing: the server answers with weights of its own, which is said

Sources: vLLM docs/features/sleep_mode.md, docs/features/lora.md and tests/model_executor/model_loader/test_reload.py; SGLang
docs/advanced_features/sglang_for_rl.md (November 2026).
"""

import copy
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from redistill.errors import OperatorError
from redistill.io.api_keys import KEY_ENV, BaseUrl, Extra, KeyEnv
from redistill.io.client import Reply, Server, post
from redistill.io.progress import say
from redistill.rollout.openai_engine import openai_engine
from redistill.rollout.requests import Finished, Request, Sample, Sampling, tell_nobody
from redistill.rollout.transformers_engine import transformers_engine

Refresh = Literal["reload-folder", "vllm-reload", "vllm-lora", "sglang-disk", "none"]
ADAPTER = "redistill"  # the name under which a vLLM server knows the stage's adapter


def in_process(
    student: Callable[[], Any],
    requests: Sequence[Request],
    sampling: Sampling,
    *,
    batch_size: Annotated[int, Field(gt=0)] = 128,
    _finished: Finished = tell_nobody,
) -> list[Sample]:
    """Sampling in this process, in the weights' own type, because they are being trained."""
    _language_model(student()[0])
    return transformers_engine(student, requests, sampling, batch_size=batch_size, dtype="float32", _finished=_finished)


def refreshed_server(
    student: Callable[[], Any],
    requests: Sequence[Request],
    sampling: Sampling,
    *,
    base_url: BaseUrl,
    refresh: Refresh,
    model: str | None = None,
    token_ids: Literal["server", "encoded"] = "server",
    dtype: Literal["float32", "bfloat16"] = "float32",
    key_env: KeyEnv = KEY_ENV,
    concurrency: Annotated[int, Field(gt=0)] = 32,
    retries: Annotated[int, Field(ge=0)] = 5,
    timeout_seconds: Annotated[float, Field(gt=0)] = 600.0,
    requests_per_minute: Annotated[float, Field(gt=0)] | None = None,
    extra: Extra | None = None,
    _finished: Finished = tell_nobody,
    _weights: Path | None = None,
) -> list[Sample]:
    """Sampling by a server at base_url that speaks OpenAI's dialect, after the student's weights have been given to it.

    refresh: how it takes them, see above. model: the name by which it knows the student, where refresh does not say it; default:
    the one model that it lists. token_ids: `server` takes the sampled ids that the server returns (vLLM, SGLang: `return_token_ids`);
    `encoded` encodes the answer's text again, which may give other tokens than were sampled, and knows no log-probs. dtype:
    of the weights that are saved for it. _weights: the folder to save them in, which the server must see under the same path.
    """
    trained, tokenizer = student()
    server = Server(base_url, key_env, concurrency, retries, timeout_seconds, requests_per_minute)
    name = model
    if refresh != "none":
        assert _weights is not None, "a server is given weights in a folder"
        _save(trained, tokenizer, _weights, dtype, adapter=refresh == "vllm-lora")
        name = REFRESHES[refresh](server, _weights.resolve()) or model
    if token_ids == "encoded":  # the fields that ask for ids are refused by servers that do not know them
        sampling = replace(sampling, logprobs=False)
    prompts = _prompt_lengths(tokenizer, requests)
    kept = _Keeper(tokenizer, token_ids, model or refresh, base_url)

    def replied(place: int, reply: Reply) -> None:
        if reply.prompt_tokens not in (None, prompts[place]) and reply.finish_reason != "length":
            raise OperatorError(
                f"rollouts.engine: the server at {base_url} reads a prompt as {reply.prompt_tokens} tokens, but the "
                f"student as {prompts[place]}; serve the student with its own tokenizer (a common cause: the BOS token is added twice)."
            )

    samples = openai_engine(
        student, requests, sampling, base_url=base_url, model=name, key_env=key_env, concurrency=concurrency,
        retries=retries, timeout_seconds=timeout_seconds, requests_per_minute=requests_per_minute, extra=extra,
        _finished=lambda place, sample: _finished(place, kept(sample)), _replied=replied, _where="rollouts.engine",
    )  # fmt: skip
    return [kept(sample) for sample in samples]


def check_engine(name: str, options: Mapping[str, Any], where: str, *, lora: bool) -> None:
    """OperatorError where a stage's engine and its options cannot work; costs nothing. lora: of the stage."""
    if options.get("refresh") == "vllm-lora" and not lora:
        raise OperatorError(
            f"{where} ({name}): vllm-lora sends an adapter, but this stage has none; set `lora`, or use vllm-reload."
        )


def say_what_none_means(stage: str) -> None:
    """The sentence with which a stage goes on whose server keeps its own weights."""
    say(
        f"train    {stage}: refresh is none, so the server keeps its weights while the student is updated: on-policy "
        f"only in the first round, and only if it serves this student"
    )


# --- giving weights to a server -----------------------------------------------------------------------------------------


def _reload_folder(server: Server, folder: Path) -> str:
    return str(folder)


def _vllm_reload(server: Server, folder: Path) -> None:
    hint = "start vLLM with VLLM_SERVER_DEV_MODE=1, and make that folder readable to it"
    post(server, "/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}}, hint)
    post(server, "/reset_prefix_cache", {}, hint)


def _vllm_lora(server: Server, folder: Path) -> str:
    hint = "start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"
    body = {"lora_name": ADAPTER, "lora_path": str(folder), "load_inplace": True}
    post(server, "load_lora_adapter", body, hint)
    return ADAPTER


def _sglang_disk(server: Server, folder: Path) -> None:
    hint = "check that it is SGLang and can read that folder"
    said = post(server, "/update_weights_from_disk", {"model_path": str(folder), "flush_cache": True}, hint)
    if not said.get("success", True):
        raise OperatorError(
            f"the server at {server.base_url} did not take the student's weights ({said.get('message')}); {hint}."
        )


REFRESHES: dict[str, Callable[[Server, Path], str | None]] = {
    "reload-folder": _reload_folder,
    "vllm-reload": _vllm_reload,
    "vllm-lora": _vllm_lora,
    "sglang-disk": _sglang_disk,
}


def _save(model: Any, tokenizer: Any, folder: Path, dtype: str, *, adapter: bool) -> None:
    """The student as a folder that a server can load: of a student with an adapter the adapter alone, or all merged."""
    import torch

    from redistill.model import loading

    _language_model(model)
    shutil.rmtree(folder, ignore_errors=True)  # of a round that was cut short
    if adapter:
        model.save_pretrained(folder)
        return
    if hasattr(model, "merge_and_unload"):
        model = copy.deepcopy(model).merge_and_unload()
    card = "Weights of a round of rollouts; they are removed when the round is drawn.\n"
    was = model.generation_config.do_sample
    model.generation_config.do_sample = (
        True  # `transformers serve` is greedy without it, whatever temperature is asked for
    )
    try:
        loading.save_model(model, tokenizer, folder, card=card, dtype=getattr(torch, dtype))
    finally:
        model.generation_config.do_sample = was


def _language_model(model: Any) -> None:
    """OperatorError for a model that writes no text, such as a critic."""
    if not (hasattr(model, "can_generate") and model.can_generate()):
        raise OperatorError(
            f"rollouts: the student is a {type(model).__name__}, which writes no text, so it cannot answer problems; "
            f"start the stage from a language model."
        )


def _prompt_lengths(tokenizer: Any, requests: Sequence[Request]) -> list[int]:
    from redistill.model import loading

    lengths = {r.prompt: 0 for r in requests}
    for prompt, ids in zip(lengths, loading.encode_prompts(tokenizer, list(lengths)), strict=True):
        lengths[prompt] = len(ids)
    return [lengths[r.prompt] for r in requests]


@dataclass(frozen=True, slots=True)
class _Keeper:
    """From a server's sample to one that rows can be made of."""

    tokenizer: Any
    token_ids: str
    model: str
    base_url: str

    def __call__(self, sample: Sample) -> Sample:
        """With the sampled token ids, the end-of-turn token last where the model said it; the log-prob of a token that the server
        does not tell is nan. OperatorError where there are no ids."""
        from redistill.model import loading

        facts = {**sample.facts, "model": self.model}  # a folder of this run has no place in a trace
        ids, logprobs = list(sample.token_ids), list(sample.logprobs)
        if self.token_ids == "encoded":
            ids, logprobs = loading.encode_completions(self.tokenizer, [sample.text])[0][:-1], []
        elif not ids and sample.text:
            raise OperatorError(
                f"rollouts.engine: the server at {self.base_url} returns no token ids, so the sampled tokens are "
                f"unknown; vLLM and SGLang (from July 2026) return them. Set `token_ids: encoded` to train on the "
                f"re-encoded text, which may give other tokens than were sampled."
            )
        end = int(self.tokenizer.eos_token_id)
        if sample.finish_reason == "stop" and (ids or self.token_ids == "encoded") and ids[-1:] != [end]:
            ids.append(end)
        logprobs += [math.nan] * (len(ids) - len(logprobs))
        return replace(sample, num_tokens=len(ids), facts=facts, token_ids=tuple(ids), logprobs=tuple(logprobs))


STAGE_ENGINES: dict[str, Callable[..., list[Sample]]] = {
    "transformers": in_process,
    "openai": refreshed_server,
}

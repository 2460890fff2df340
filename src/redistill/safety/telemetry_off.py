"""What our libraries would send home, or fetch and run, unasked: switched off by environment variables, all of them here.

    switch_off()            before any library is imported; `import redistill` does it
    switched_off({...})     the same switches for a server that we start

A variable that is set already keeps its value: whoever sets it decides.
"""

import os
from collections.abc import Mapping

SWITCHES: dict[str, str] = {
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, transformers, datasets
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",  # huggingface_hub asks for its newest version
    "DISABLE_SAFETENSORS_CONVERSION": "1",  # transformers asks a public server to convert pickled weights
    "USE_HUB_KERNELS": "NO",  # transformers runs compiled code of the hub where the package `kernels` is installed
    "RAY_USAGE_STATS_ENABLED": "0",
    "OTEL_SDK_DISABLED": "true",  # fastapi in `transformers serve`, openai
    "VLLM_NO_USAGE_STATS": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",  # trackio's pages
    "WANDB_ERROR_REPORTING": "false",
    "DO_NOT_TRACK": "1",  # https://donottrack.sh, read by huggingface_hub and vLLM
}


def switched_off(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment with every switch in it; those that it sets itself stay as they are."""
    return {**SWITCHES, **environment}


def switch_off() -> None:
    """Set the switches for this process and those that it starts."""
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)

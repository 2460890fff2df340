"""In a process from here on: every address that is asked for is written down, and any but loopback's is refused."""

import json
import sys
from typing import Any


def watch(tried: str) -> None:
    """Refuse what leads out, and add it to the file `tried`."""

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
            address = arguments[1] if event != "socket.getaddrinfo" else arguments[0]
            host = address[0] if isinstance(address, tuple) else address
            if isinstance(host, bytes):
                host = host.decode("latin-1")
            if event != "socket.getaddrinfo" and not isinstance(address, tuple):
                return  # a socket in the file system
            if host not in ("127.0.0.1", "::1", "localhost", None, ""):
                with open(tried, "a") as file:
                    file.write(json.dumps([event, str(host)]) + "\n")
                raise OSError(101, "Network is unreachable")

    sys.addaudithook(refuse)


def arm(spec: dict[str, Any]) -> None:
    """Inside a child of runner.py."""
    watch(spec["tried"])

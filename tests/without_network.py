"""Run a command where there is no network but loopback: `unshare --map-root-user --net python tests/without_network.py COMMAND ...`.

A fresh network namespace holds one interface, loopback, which is down. This program takes it up, sees that nothing else is
there, and becomes the command. `make test-offline` runs the whole suite so.
"""

import fcntl
import os
import socket
import struct
import sys

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1  # linux/sockios.h, linux/if.h


def main() -> None:
    """Take loopback up and become the command; exit code 2 where this namespace has any other interface."""
    names = [name for _, name in socket.if_nameindex()]
    others = [name for name in names if name != "lo" and is_up(name)]
    if others:
        print(f"this network namespace has {', '.join(others)}; run me under `unshare --map-root-user --net`")
        sys.exit(2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        fcntl.ioctl(handle, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        os.environ.pop(name, None)
    os.execvp(sys.argv[1], sys.argv[1:])


def is_up(name: str) -> bool:
    """Whether an interface is up (a namespace may come with tunnels that are down)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        flags = fcntl.ioctl(handle, SIOCGIFFLAGS, struct.pack("16sh14x", name.encode(), 0))
    return bool(struct.unpack("16sh14x", flags)[1] & IFF_UP)


if __name__ == "__main__":
    main()

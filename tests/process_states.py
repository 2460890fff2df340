"""Whether a process that a test has seen is still at work."""

import psutil


def is_running(pid: int) -> bool:
    """Alive, and not a dead process that nobody has asked after."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

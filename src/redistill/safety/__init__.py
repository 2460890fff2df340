"""Safety: terminal escaping, path checks, resource limits for untrusted work, telemetry off. Imports nothing of the package but errors."""

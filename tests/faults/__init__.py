"""Faults, injected for real: what was promised in docs/guarantees.md is tried here."""

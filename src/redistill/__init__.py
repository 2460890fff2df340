"""redistill: right and wrong teacher traces in, a better student and an honest report out."""

__version__ = "0.1.0"

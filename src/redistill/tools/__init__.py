"""Tools: what users call beside `redistill run`, one file or folder per command."""

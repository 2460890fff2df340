"""One thread for every test: the models are tiny, and OpenMP threads that wait for a busy core slow a test tenfold."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch

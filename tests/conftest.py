"""One thread for every test: the models are tiny, and OpenMP threads that wait for a busy core slow a test tenfold."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch
# Ray reads this when it is imported: 127.0.0.1 stays 127.0.0.1. It would else be replaced by the machine's outer address,
# which a sandbox may not answer.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

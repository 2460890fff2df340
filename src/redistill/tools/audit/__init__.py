"""`redistill audit`: what a file of traces holds, before anything is trained on it."""

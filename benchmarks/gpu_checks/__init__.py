"""The sections of benchmarks/gpu.py: each is a generator of rows, given the bench it runs on."""

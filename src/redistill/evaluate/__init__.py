"""Evaluate: verified Groups, n samples a problem by one student -> scores with intervals; pure functions of stored text.

registry.py knows benchmarks by name, benchmarks.py reads the problems, scores.py scores one student, metrics.py says what one problem is worth, compare.py
sets two students beside each other on the same problems.
"""

from redistill.evaluate.benchmarks import benchmark_file, load_benchmark, subsample
from redistill.evaluate.compare import paired_difference
from redistill.evaluate.metrics import METRICS
from redistill.evaluate.registry import BENCHMARKS
from redistill.evaluate.scores import score

__all__ = ["BENCHMARKS", "METRICS", "benchmark_file", "load_benchmark", "paired_difference", "score", "subsample"]

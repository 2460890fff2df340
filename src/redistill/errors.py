"""The operator's slip: one sentence that says what is wrong, where, and what to do; never a traceback.

Raised anywhere, caught once, in cli/, which prints the sentence and exits with code 2. A troublesome *record* is
not an error but data with a reason (see `Dropped` in records.py), and a bug of ours crashes at once.
"""


class OperatorError(Exception):
    """One clear sentence for the person at the keyboard: what, where, what to do."""

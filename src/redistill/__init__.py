"""redistill: train a student model on right and wrong reasoning traces, and report honestly how good it is.

`from redistill import api`: every command of the command line as a function, which brings torch only when it is called.
"""

from redistill.safety.telemetry_off import switch_off

__version__ = "0.1.0"

switch_off()  # here, because a library reads its switches when it is imported

"""The toy teacher of the quickstart: its problems and traces (teacher.py), its habits found in a student (diagnosis.py)."""

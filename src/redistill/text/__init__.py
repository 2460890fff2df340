"""Text: prompts, and what a text tells by itself. Imports no model and no file."""

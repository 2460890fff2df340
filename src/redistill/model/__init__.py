"""Model: loading and saving students, text to tokens, log-probs on packed rows, memory and FLOPs. torch enters here."""

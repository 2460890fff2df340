"""Tool `sweep`: a grid of trials over one recipe."""

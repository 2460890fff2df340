"""The corridor: joins rooms into experiments. Each file reads top to bottom as the experiment it is."""

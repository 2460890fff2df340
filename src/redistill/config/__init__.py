"""Config: recipe tables, reading YAML and `--set`, binding plug-ins, and every mistake as one sentence."""

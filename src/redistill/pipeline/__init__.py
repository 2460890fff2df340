"""Pipeline: how stages are ordered, cached, resumed and locked; what a stage computes is in its own folder."""

"""Metrics as local `evaluate` modules, as its loader expects them."""

"""Metrics as local `evaluate` modules, one file each, as its loader expects them."""

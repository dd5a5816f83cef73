"""Hyperparameter tuning: the space that is searched, how trials are drawn from it, and when one is stopped early."""

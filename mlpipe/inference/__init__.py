"""Exported models on rows that they have never seen: logits, times, and the files that tell of both."""

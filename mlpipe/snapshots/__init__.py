"""Data snapshots: the user's rows checked and filed as Arrow, then split and encoded for every model."""

"""The other ways that benchmarks/workflow.py measures."""

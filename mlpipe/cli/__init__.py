"""The command line: it parses, calls one function of `mlpipe.experiment` or `mlpipe.catalog`, and prints."""

"""mlpipe: from a settings file and five functions to a measured, versioned classification experiment."""

__version__ = "0.1.0"

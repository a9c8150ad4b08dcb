"""A scheduled analytics worker: reads leads, says what can honestly be said of them, and how sure that is."""

__version__ = "0.1.0"

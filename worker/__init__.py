"""A scheduled analytics worker: reads leads, says what can honestly be said of them, and how sure that is."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("growth-brain-worker")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"

"""A scheduled analytics worker: reads leads, works out what can honestly be said of them, writes it with a confidence."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("growth-brain-worker")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"

"""Whether the libraries that pages are made with are there: they come with the extra `report`."""

from importlib.util import find_spec

from worker.errors import ConfigurationError

LIBRARIES = ("jinja2", "matplotlib")
HOW_TO_INSTALL = "pip install 'growth-brain-worker[report]'"


def has_extra() -> bool:
    """Whether pages can be made."""
    return all(find_spec(name) is not None for name in LIBRARIES)


def ensure_extra() -> None:
    """Raise ConfigurationError where pages cannot be made, and say how to mend that."""
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise ConfigurationError([f"reports need {' and '.join(missing)}: {HOW_TO_INSTALL}"])

"""Packing: a wheel whose message catalogues are incomplete, or not compiled, is not built."""

import sys
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompleteCatalogues(BuildHookInterface):
    """Looks at the catalogues before anything is packed."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Raise RuntimeError naming every problem of the catalogues."""
        sys.path.insert(0, self.root)
        from worker.locale.compile import FOLDER, problems  # noqa: PLC0415 - found only now

        found = problems(FOLDER)
        if found:
            raise RuntimeError("message catalogues:\n" + "\n".join(found))

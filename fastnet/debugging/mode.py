"""Debug mode: what a developer wants to see and the public must not."""

from __future__ import annotations

import logging
import warnings

__all__ = ["enter_debug_mode"]

log = logging.getLogger("fastnet.server")


def enter_debug_mode() -> None:
    """Show all that is logged and all warnings, in this process, and say so."""
    logging.getLogger("fastnet").setLevel(logging.DEBUG)
    # Python shows most of them to nobody; ResourceWarning names sockets and files that were not closed.
    warnings.simplefilter("default")
    log.warning("debug mode: errors are shown to clients with their source; it must not face the public")

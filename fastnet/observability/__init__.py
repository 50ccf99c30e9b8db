"""What a server tells of itself: logs and the access log."""

from .logs import JsonFormatter, RequestFilter, TextFormatter, configure_logging

__all__ = ["JsonFormatter", "RequestFilter", "TextFormatter", "configure_logging"]

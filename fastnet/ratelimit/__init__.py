"""Rate limits: how many requests of whom are admitted in which time."""

from fastnet.ratelimit.keys import api_key, client_ip, everyone, header
from fastnet.ratelimit.limits import Concurrency, RateLimit
from fastnet.ratelimit.rates import Rate
from fastnet_ext.exchange.errors import TooManyRequests

__all__ = [
    "Concurrency",
    "Rate",
    "RateLimit",
    "TooManyRequests",
    "api_key",
    "client_ip",
    "everyone",
    "header",
]

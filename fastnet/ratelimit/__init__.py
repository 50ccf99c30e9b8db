"""Rate limits: how many requests of whom are admitted in which time."""

from fastnet.ratelimit.keys import api_key, client_ip, client_network, everyone, header
from fastnet.ratelimit.limits import Concurrency, RateLimit
from fastnet.ratelimit.rates import Rate
from fastnet_ext.exchange.errors import TooManyRequests
from fastnet_ext.exchange.stores import Ask, Quota, Store
from fastnet_ext.ratelimit.limiter import Decision

__all__ = [
    "Ask",
    "Concurrency",
    "Decision",
    "Quota",
    "Rate",
    "RateLimit",
    "Store",
    "TooManyRequests",
    "api_key",
    "client_ip",
    "client_network",
    "everyone",
    "header",
]

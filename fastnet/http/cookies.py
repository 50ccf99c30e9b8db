"""Cookies (RFC 6265bis); ``request.cookies`` and ``response.set_cookie`` are the usual way to them."""

from fastnet_ext.exchange.cookies import SameSite, format_set_cookie, parse_cookies

__all__ = ["SameSite", "format_set_cookie", "parse_cookies"]

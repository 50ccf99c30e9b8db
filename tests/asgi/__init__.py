"""ASGI, both ways."""

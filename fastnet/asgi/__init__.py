"""ASGI, both ways: other applications in fastnet, and fastnet's in other servers."""

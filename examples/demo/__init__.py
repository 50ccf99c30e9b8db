"""One service, one port: HTTP, WebSocket and gRPC handlers; ``python -m examples.demo`` drives it."""

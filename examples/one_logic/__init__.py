"""One chat, three protocols, one port: REST, WebSocket and gRPC are faces of the same rooms."""

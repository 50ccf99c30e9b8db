"""A user service by gRPC: SQLite behind it, bearer tokens and TLS in front of it, a client that retries."""

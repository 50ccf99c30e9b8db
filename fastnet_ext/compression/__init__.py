"""Content codings (RFC 9110, 8.4.1): what a client accepts, and the codings, by the libraries that do them."""

"""Server CPU per request, over loopback, beside a C floor and the peers in the same run; see benches/README.md."""

"""Benchmarks: ``micro`` measures single operations in one process, ``load`` whole servers over loopback."""

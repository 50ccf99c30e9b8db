"""Figures that a server pushes to browsers, as binary messages."""

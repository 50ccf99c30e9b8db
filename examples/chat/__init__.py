"""A chat with rooms and presence."""

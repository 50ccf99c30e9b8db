"""The applications under load and, in ``catalog``, how each server is started."""

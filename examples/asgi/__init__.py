"""A FastAPI application that moves to fastnet route by route."""

"""A Django project: sessions and users in SQLite, forms, files, streams, async views."""

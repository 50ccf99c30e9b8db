"""Applications of other frameworks, as their users write them; served with ``--app-dir`` as this folder."""

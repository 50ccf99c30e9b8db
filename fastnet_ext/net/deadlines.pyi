# What this module has is for other compiled modules; Python sees nothing of it.

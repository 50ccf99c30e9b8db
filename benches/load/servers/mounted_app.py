"""fastnet with the ASGI application of BENCH_APPLICATION at its root, a module beside this one."""

import os
from importlib import import_module

from fastnet import App

app = App()
app.mount("/", import_module(f"benches.load.servers.{os.environ['BENCH_APPLICATION']}").app)

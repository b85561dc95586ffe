"""The doors: what listens. Each one is an ASGI application of its own, built by app.py from injected parts."""

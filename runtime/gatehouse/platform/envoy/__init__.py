"""Envoy, the proxy in front of the services: its configuration and its process."""

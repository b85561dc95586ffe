"""Distributed tracing of requests: trace context of HTTP headers, sampling, spans and their export
with OpenTelemetry.
"""

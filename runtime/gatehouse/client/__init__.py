"""Typed Python clients for the console and the sharing service."""

from gatehouse.client.http import ONCE, Retries
from gatehouse.client.services import ConsoleClient, SharingClient

__all__ = ["ONCE", "ConsoleClient", "Retries", "SharingClient"]

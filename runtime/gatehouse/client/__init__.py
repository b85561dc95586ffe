"""Typed Python clients for the console and the sharing service."""

from gatehouse.client.http import Retries
from gatehouse.client.services import ConsoleClient, SharingClient

__all__ = ["ConsoleClient", "Retries", "SharingClient"]

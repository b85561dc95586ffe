"""The clients for asyncio. tools/types/sync_clients.py derives the synchronous ones from them."""

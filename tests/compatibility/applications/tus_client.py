"""Uploads 3 MiB in chunks."""

import io
import os

from tusclient.client import TusClient

url = f"{os.environ['URL']}/uploads"
client = TusClient(url, headers={"Authorization": f"Bearer {os.environ['TOKEN']}"})
content = io.BytesIO(os.urandom(3 * 2**20))
uploader = client.uploader(file_stream=content, chunk_size=2**20, metadata={"filename": "a"})
uploader.upload()
assert uploader.url.startswith(url), uploader.url
assert uploader.get_offset() == 3 * 2**20

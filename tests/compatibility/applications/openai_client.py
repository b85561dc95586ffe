"""Calls the API with the official SDK, and with a wrong key."""

import os

import openai

url = f"{os.environ['URL']}/v1"
client = openai.OpenAI(base_url=url, api_key=os.environ["TOKEN"])
assert [model.id for model in client.models.list()] == ["echo"]
message = {"role": "user", "content": "one two three"}
raw = client.chat.completions.with_raw_response.create(
    model="echo", messages=[message], stream=True
)
assert (raw.headers["openai-processing-ms"], raw.request_id) == ("1", "req-1")
words = [chunk.choices[0].delta.content for chunk in raw.parse()]
assert words == ["one", "two", "three", None], words
try:
    openai.OpenAI(base_url=url, api_key="wrong").models.list()
    raise SystemExit("a wrong key was accepted")
except openai.AuthenticationError as error:
    message = error.body["message"]
assert "key" in message, message

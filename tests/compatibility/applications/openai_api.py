"""An API in the style of OpenAI that streams the last message. SERVER_KEY: the key that it
requires.
"""

import json
import os
from collections.abc import Iterator

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import StreamingResponse


def authenticate(request: Request) -> None:
    key = os.environ.get("SERVER_KEY")
    if key and request.headers.get("authorization") != f"Bearer {key}":
        raise HTTPException(401)


app = FastAPI(dependencies=[Depends(authenticate)])


@app.post("/v1/chat/completions")
async def complete(request: Request) -> Response:
    body = await request.json()
    words = body["messages"][-1]["content"].split()
    headers = {"x-request-id": "req-1", "openai-processing-ms": "1"}

    def chunk(delta: dict[str, str], reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        document = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "echo"}
        return f"data: {json.dumps({**document, 'choices': [choice]})}\n\n"

    def events() -> Iterator[str]:
        for word in words:
            yield chunk({"content": word})
        yield chunk({}, "stop")
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream", headers=headers)


@app.get("/v1/models")
async def models() -> dict[str, object]:
    model = {"id": "echo", "object": "model", "created": 1, "owned_by": "tests"}
    return {"object": "list", "data": [model]}

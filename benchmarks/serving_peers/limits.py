"""The two limits: an ASGI application that does nothing, and one that does nothing but run the graph.

`KIND=noop` or `KIND=raw` with `MODEL`, the folder of a compiled version. No key, no validation, no limit, no log.
"""

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime
import orjson

HEADERS = [(b"content-type", b"application/json")]


async def noop(scope, receive, send):
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": b'{"predictions":["no"]}'})


def build_raw(folder: Path):
    manifest = json.loads((folder / "manifest.json").read_bytes())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    run = onnxruntime.InferenceSession(str(folder / "model.onnx"), options).run
    fields = [
        (f"in_{place}", one["field"], np.float64 if one["transform"] == "number" else object)
        for place, one in enumerate(manifest["graph_inputs"])
    ]

    async def raw(scope, receive, send):
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        rows = orjson.loads(body)["instances"]
        feed = {name: np.array([row[field] for row in rows], dtype=kind).reshape(-1, 1) for name, field, kind in fields}
        shares = run(None, feed)[0]
        answer = orjson.dumps({"probabilities": shares}, option=orjson.OPT_SERIALIZE_NUMPY)
        await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, (b"content-length", str(len(answer)).encode())]})
        await send({"type": "http.response.body", "body": answer})

    return raw


async def lifespan(scope, receive, send):
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})


answer = noop if os.environ["KIND"] == "noop" else build_raw(Path(os.environ["MODEL"]))


async def app(scope, receive, send):
    await (lifespan if scope["type"] == "lifespan" else answer)(scope, receive, send)

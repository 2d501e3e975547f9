"""A chat server in this process that misbehaves as it is told, and counts what it is asked.

with JudgeServer(lambda asked, n: GOOD) as server:      # n: how often this text was asked before
    ...
server.requests       the body of every request, in order
"""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mellm_plugin.scoring.rubric import CRITERIA


def verdict(*scores: int) -> str:
    """A verdict as the rubric asks for it."""
    return json.dumps({name: {"why": "seen", "score": s} for name, s in zip(CRITERIA, scores, strict=True)})


GOOD = verdict(5, 4, 4, 5, 2)  # 75 points


@dataclass(frozen=True)
class Reply:
    """What is sent in place of a good answer.

    Attributes:
        text: the judge's words; None: a message without text.
        status, headers: of HTTP.
        finish: why the answer ended.
        body: the whole body, in place of a chat completion.
        reset: close the connection without an answer.
        trickle: s between two bytes of the body.
        endless: send headers for ever, one every so many s.
    """

    text: str | None = GOOD
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    finish: str = "stop"
    body: str | None = None
    reset: bool = False
    trickle: float = 0.0
    endless: float = 0.0

    def content(self, model: str) -> bytes:
        if self.body is not None:
            return self.body.encode()
        choice = {"index": 0, "finish_reason": self.finish, "message": {"role": "assistant", "content": self.text}}
        used = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        about = {"id": "1", "object": "chat.completion", "created": 1, "model": model, "usage": used}
        return json.dumps({**about, "choices": [choice]}).encode()


FAULTS: dict[str, Reply] = {
    "rate limit": Reply(status=429, headers={"Retry-After": "0.1"}, body='{"error": {"message": "slow down"}}'),
    "server error": Reply(status=503, body="<html>unwell</html>"),
    "connection": Reply(reset=True),
    "timeout": Reply(trickle=0.05),
    "timeout (headers)": Reply(endless=0.1),
    "not JSON": Reply(text="I would give it a four."),
    "not JSON (server)": Reply(body='{"choices": [{"mess'),
    "JSON in prose": Reply(text=f"The text says {GOOD}, but I disagree."),
    "out of range": Reply(text=verdict(5, 9, 1, 0, 2)),
    "wrong form": Reply(text=GOOD.replace("5", '"five"')),
    "empty choices": Reply(body='{"id": "1", "object": "chat.completion", "model": "m", "created": 1, "choices": []}'),
    "no text": Reply(text=""),
    "no text (null)": Reply(text=None),
    "truncated": Reply(text=GOOD[:40], finish="length"),
    "content filter": Reply(text="", finish="content_filter"),
    "content filter (null)": Reply(text=None, finish="content_filter"),
    "content filter (400)": Reply(status=400, body='{"error": {"code": "content_filter", "message": "filtered"}}'),
    "refused": Reply(status=400, body='{"error": {"message": "too long"}}'),
}
"""One reply for every way to fail; what stands in brackets is a variant of the same kind."""

Answer = Callable[[str, int], Reply | str]


class JudgeServer:
    """See the module. `answer(text, n)` is called with the user's message and how often it was asked before."""

    def __init__(self, answer: Answer, key: str | None = None) -> None:
        self.requests: list[dict[str, Any]] = []
        self.times: list[float] = []
        self._seen: Counter[str] = Counter()
        lock, outer = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None: ...

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                text = body["messages"][-1]["content"]
                with lock:
                    outer.requests.append(body)
                    outer.times.append(time.monotonic())
                    before = outer._seen[text]
                    outer._seen[text] += 1
                if not self.path.startswith("/v1/chat/completions") and "/openai/deployments/" not in self.path:
                    return self.reply(Reply(status=404, body="{}"), "")
                if key is not None and self.headers["Authorization"] != f"Bearer {key}":
                    return self.reply(Reply(status=401, body='{"error": {"message": "wrong key"}}'), "")
                given = answer(text, before)
                self.reply(given if isinstance(given, Reply) else Reply(given), body.get("model", ""))

            def reply(self, reply: Reply, model: str) -> None:
                if reply.reset:  # RST, not FIN
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close_connection = True
                    os.close(self.connection.detach())  # its files would keep it open
                    return
                if reply.endless:
                    self.close_connection = True
                    with suppress(OSError):  # the other side has left
                        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                        while True:
                            self.wfile.write(b"X-Wait: yes\r\n")
                            time.sleep(reply.endless)
                    return
                content = reply.content(model)
                self.send_response(reply.status)
                for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                try:
                    if not reply.trickle:
                        self.wfile.write(content)
                    for byte in content if reply.trickle else b"":
                        self.wfile.write(bytes([byte]))
                        time.sleep(reply.trickle)
                except OSError:  # the other side has left
                    self.close_connection = True

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_: Any) -> None: ...  # a connection that was reset on purpose

        self._server = Server(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def environment(self, provider: str = "openai", key: str = "key") -> dict[str, str]:
        """What lmms-eval's provider has to be told."""
        if provider == "local":
            return {"LLM_JUDGE_URL": f"{self.address}/chat/completions"}
        if provider == "azure":
            place = self.address.removesuffix("/v1")
            return {"AZURE_API_KEY": key, "AZURE_ENDPOINT": place, "OPENAI_API_KEY": key}
        return {"OPENAI_API_URL": self.address, "OPENAI_API_KEY": key}

    def __enter__(self) -> JudgeServer:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

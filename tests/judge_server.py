"""A chat server in this process that misbehaves on demand, and counts its requests.

with JudgeServer(lambda asked, n: GOOD) as server:      # n: number of earlier requests with this text
    ...
server.requests       the body of every request, in order
server.left           number of connections closed before an answer was complete
"""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from mellm_plugin.scoring.rubric import CRITERIA


def verdict(*scores: int) -> str:
    """A verdict as the rubric asks for it."""
    return json.dumps({name: {"why": "seen", "score": s} for name, s in zip(CRITERIA, scores, strict=True)})


GOOD = verdict(5, 4, 4, 5, 2)  # 75 points


@dataclass(frozen=True)
class Reply:
    """A reply in place of a good answer.

    Attributes:
        text: the judge's words; None: a message without text.
        status, headers: of HTTP.
        finish: why the answer ended.
        body: the whole body, in place of a chat completion.
        reset: close the connection without an answer.
        trickle: s between two bytes of the body.
        endless: send headers for ever, one every so many s.
        flood: send white space for ever, as fast as it is taken; "body": as the body, "text": within the judge's words.
        echo: put the headers of the request before the text, the body and the verdict's reasons.
    """

    text: str | None = GOOD
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    finish: str = "stop"
    body: str | None = None
    reset: bool = False
    trickle: float = 0.0
    endless: float = 0.0
    flood: str = ""
    echo: bool = False

    def content(self, model: str, headers: dict[str, str] | None = None) -> bytes:
        seen = json.dumps(headers) if self.echo else ""
        if self.body is not None:
            return (seen + self.body).encode()
        text = self.text
        if seen:
            why = {name: {"why": f"{text} {seen}", "score": 4} for name in CRITERIA}
            text = json.dumps(why) if text == "verdict" else f"{seen} {text}"
        choice = {"index": 0, "finish_reason": self.finish, "message": {"role": "assistant", "content": text}}
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
    "wrong form (twice)": Reply(text=GOOD.replace('"units"', '"movement"', 1)),
    "too long": Reply(flood="body"),
    "too long (text)": Reply(flood="text"),
    "server error (200)": Reply(body='{"error": {"message": "overloaded", "code": 502}, "user_id": "u"}'),
    "rate limit (200)": Reply(body='{"error": {"message": "slow down", "code": 429}}'),
    "server error (200, no code)": Reply(body='{"error": "the model has crashed"}'),
    "no text (thoughts)": Reply(text=f"<think>So {GOOD}"),
    "refused (redirect)": Reply(status=307, headers={"Location": "http://127.0.0.1:9/v1/chat/completions"}, body=""),
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


_GOLDEN = Path(__file__).with_name("golden") / "judge_refusals.jsonl"
_CASES = [json.loads(line) for line in _GOLDEN.read_text(encoding="utf-8").splitlines()]
REFUSALS: dict[str, tuple[str, int, str]] = {
    case["server"]: (case["parameter"], case["status"], case["body"]) for case in _CASES if case["parameter"]
}
"""How servers refuse a parameter, as users have reported it: the parameter, status and body."""

TOO_MUCH: list[str] = [case["body"] for case in _CASES if not case["parameter"]]
"""Bodies of 400 that name a parameter which another name would not help."""

Answer = Callable[[str, int], Reply | str]


class JudgeServer:
    """See the module. `answer(text, n)` gets the user message and the number of earlier requests with it."""

    def __init__(self, answer: Answer, key: str | None = None, refuses: tuple[str, ...] = ()) -> None:
        self.requests: list[dict[str, Any]] = []
        self.left = 0
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
                for name in refuses:
                    parameter, status, content = REFUSALS[name]
                    if parameter in body:
                        return self.reply(Reply(status=status, body=content), "")
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
                    with self.leaving():
                        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                        while True:
                            self.wfile.write(b"X-Wait: yes\r\n")
                            time.sleep(reply.endless)
                    return
                if reply.flood:
                    self.close_connection = True
                    with self.leaving():
                        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
                        head = reply.content(model).split(b'"content": "')[0]
                        self.wfile.write(head + b'"content": "' if reply.flood == "text" else b"")
                        while True:
                            self.wfile.write(b" " * 65536)
                    return
                content = reply.content(model, dict(self.headers))
                self.send_response(reply.status)
                for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with self.leaving():
                    if not reply.trickle:
                        self.wfile.write(content)
                    for byte in content if reply.trickle else b"":
                        self.wfile.write(bytes([byte]))
                        time.sleep(reply.trickle)

            @contextmanager
            def leaving(self) -> Iterator[None]:
                try:
                    yield
                except OSError:  # the other side closed the connection
                    self.close_connection = True
                    with lock:
                        outer.left += 1

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_: Any) -> None: ...  # a connection reset on purpose

        self._server = Server(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def environment(self, provider: str = "openai", key: str = "key") -> dict[str, str]:
        """The variables that point to this server."""
        if provider == "local":
            return {"LLM_JUDGE_URL": f"{self.address}/chat/completions"}
        if provider == "azure":
            place = self.address.removesuffix("/v1")
            return {"AZURE_API_KEY": key, "AZURE_ENDPOINT": place}
        return {"OPENAI_API_URL": self.address, "OPENAI_API_KEY": key}

    def __enter__(self) -> JudgeServer:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

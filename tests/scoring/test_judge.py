"""The judge against a real server that misbehaves in every way."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email.utils import formatdate
from functools import partial
from itertools import cycle
from pathlib import Path
from urllib.parse import quote

import pytest
from judge_server import FAULTS, GOOD, REFUSALS, TOO_MUCH, Answer, JudgeServer, Reply

from mellm_plugin.errors import JudgeError, SettingsError
from mellm_plugin.scoring import judge as judging
from mellm_plugin.scoring.judge import Grade, Judge
from mellm_plugin.scoring.judge_settings import JudgeSettings
from mellm_plugin.scoring.rubric import Unscored, Verdict, reference

KNOWN = reference(("12",), "happiness")
PROVIDERS = ("openai", "local", "azure")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_API_URL", "AZURE_API_KEY", "AZURE_ENDPOINT", "LLM_JUDGE_URL", "MELLM_JUDGE"):
        monkeypatch.delenv(name, raising=False)


def judge(
    server: JudgeServer,
    monkeypatch: pytest.MonkeyPatch,
    provider: str = "openai",
    folder: Path | None = None,
    **settings: float,
) -> Judge:
    for name, value in server.environment(provider).items():
        monkeypatch.setenv(name, value)
    plain = JudgeSettings(provider, "m", timeout=2, requests=3, backoff=0.01)
    return Judge(replace(plain, **settings), folder)  # type: ignore[arg-type]


def always(reply: Reply | str) -> Answer:
    return lambda text, before: reply


# ---- every way to fail ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_verdict(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with JudgeServer(always(GOOD)) as server:
        made = judge(server, monkeypatch, provider)
        made.probe()
        grade = made.grade("a", KNOWN, "AU12, happiness")
    assert isinstance(grade.result, Verdict) and grade.result.points == 75
    assert grade.tokens == (100, 20) and grade.requests == 1 and not grade.cached
    _, body = server.requests
    assert body["temperature"] == 0 and "AU12, happiness" in body["messages"][-1]["content"]
    began = time.monotonic()
    with pytest.raises(JudgeError, match="cannot be used: connection: .*unset MELLM_JUDGE"):
        judge(server, monkeypatch, provider).probe()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(("fault", "provider"), [*zip(FAULTS, cycle(PROVIDERS), strict=False)])
def test_every_failure_has_its_reason_and_its_bound(provider: str, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    timeout = 0.3 if fault.startswith("timeout") else 5.0
    with JudgeServer(always(FAULTS[fault])) as server:
        made = judge(server, monkeypatch, provider, timeout=timeout)
        began = time.monotonic()
        grade = made.grade("a", KNOWN, "AU12")
        took = time.monotonic() - began
        time.sleep(0.1)  # a provider that retried by itself would go on
        sent = len(server.requests)
        for _ in range(5):  # lmms-eval repeats process_results
            assert made.grade("a", KNOWN, "AU12") == grade
    kind = fault.partition(" (")[0]
    assert isinstance(grade.result, Unscored) and grade.result.kind == kind, grade
    once = kind in ("truncated", "content filter", "refused", "too long")
    assert grade.requests == sent == len(server.requests) == (1 if once else 3)
    assert grade.failed == (kind,) * grade.requests
    assert took < 3 * timeout + 1
    if fault.startswith(("timeout", "too long")):
        until = time.monotonic() + 2
        while server.left < grade.requests and time.monotonic() < until:
            time.sleep(0.01)
        assert server.left == grade.requests, "the connection ends with the request"
    row = json.loads(json.dumps(grade.to_dict()))
    assert row["points"] is None and row["unscored"]["kind"] == kind


@pytest.mark.parametrize("fault", ["rate limit", "server error", "connection", "not JSON", "empty choices"])
def test_temporary_failures_are_repeated(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with JudgeServer(lambda text, before: FAULTS[fault] if before < 2 else GOOD) as server:
        grade = judge(server, monkeypatch).grade("a", KNOWN, "AU12")
    assert isinstance(grade.result, Verdict) and grade.requests == len(server.requests) == 3
    assert grade.failed == (fault, fault)


def test_pauses_double_up_to_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    with JudgeServer(always(FAULTS["server error"])) as server:
        made = judge(server, monkeypatch, requests=4, backoff=20)
        monkeypatch.setattr(made._ended, "wait", lambda timeout=None: pauses.append(timeout))
        assert made.grade("a", KNOWN, "AU12").requests == 4
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, (20, 40, 60), strict=True))


def test_all_threads_obey_retry_after(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = Reply(status=429, headers={"Retry-After": "1"}, body="{}")
    with JudgeServer(lambda text, before: busy if "first" in text and before == 0 else GOOD) as server:
        made = judge(server, monkeypatch)
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(made.grade, "a", KNOWN, "first")
            while not made._not_before:
                time.sleep(0.01)
            second = pool.submit(made.grade, "b", KNOWN, "second")
        assert isinstance(first.result().result, Verdict) and isinstance(second.result().result, Verdict)
    assert len(server.times) == 3 and server.times[1] - server.times[0] >= 0.95


@pytest.mark.parametrize("late", ["a date", "9" * 400, "4000.5"])
def test_retry_after_too_far_away(late: str, monkeypatch: pytest.MonkeyPatch, log: list[str]) -> None:
    late = formatdate(time.time() + 4000, usegmt=True) if late == "a date" else late
    with JudgeServer(always(Reply(status=429, headers={"Retry-After": late}, body="{}"))) as server:
        made = judge(server, monkeypatch)
        grades = [made.grade(name, KNOWN, name) for name in "abc"]
    assert [grade.requests for grade in grades] == [1, 0, 0] and len(server.requests) == 1
    assert isinstance(grades[2].result, Unscored) and grades[2].result.kind == "not asked"
    assert [line for line in log if "asks to wait for" in line and "no more requests in this run" in line]


_PAST = "Wed, 21 Oct 2015 07:28:00"
_ODD = ("-5", "soon", "", "nan", "inf", "١", _PAST, f"{_PAST} -0000", "Mon, 99 Foo 99999 9:99 +99999999999")


@pytest.mark.parametrize("odd", _ODD)
def test_a_retry_after_that_says_nothing_is_no_reason_to_wait(odd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = Reply(status=503, headers={"Retry-After": odd.encode().decode("latin-1")}, body="{}")
    with JudgeServer(lambda text, before: GOOD if before else busy) as server:
        began = time.monotonic()
        grade = judge(server, monkeypatch).grade("a", KNOWN, "AU12")
    assert isinstance(grade.result, Verdict) and time.monotonic() - began < 2


def test_a_judge_that_mostly_fails_gets_no_more_requests(monkeypatch: pytest.MonkeyPatch, log: list[str]) -> None:
    with JudgeServer(always(FAULTS["server error"])) as server:
        made = judge(server, monkeypatch)
        with ThreadPoolExecutor(4) as pool:
            grades = list(pool.map(lambda n: made.grade(str(n), KNOWN, str(n)), range(50)))
    assert 11 <= len(server.requests) <= 10 + 1 + 3, "a short one to see, and those that were under way"
    assert sum(grade.requests for grade in grades) == len(server.requests) - 1
    (told,) = [line for line in log if "no more requests in this run" in line]
    assert "requests failed (server error 1" in told
    assert re.search("not asked [34]", judging.summary([g.to_dict() for g in grades]))


@pytest.mark.parametrize("fault", ["not JSON", "server error", "refused"])
def test_failures_on_a_third_of_the_texts_do_not_affect_the_others(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(text: str, before: int) -> Reply | str:
        number = re.search(r"clip (\d+)", text)
        return FAULTS[fault] if number and int(number[1]) % 3 == 0 else GOOD

    with JudgeServer(answer) as server:
        made = judge(server, monkeypatch, requests=2, backoff=0)
        with ThreadPoolExecutor(4) as pool:
            grades = list(pool.map(lambda n: made.grade(str(n), KNOWN, f"clip {n}"), range(120)))
    assert sum(isinstance(grade.result, Verdict) for grade in grades) == 80


def test_a_judge_with_nearly_all_faulty_replies_gets_no_more_requests(
    monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    with JudgeServer(always(FAULTS["not JSON"])) as server:
        made = judge(server, monkeypatch, requests=1)
        grades = [made.grade(str(n), KNOWN, str(n)) for n in range(60)]
    assert len(server.requests) == 46 and grades[-1].failed == ()
    assert "46 of the last 50 descriptions have no verdict (not JSON 46)" in log[-1]


def test_no_more_requests_at_once_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    now, most, lock = 0, 0, threading.Lock()

    def slow(text: str, before: int) -> str:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.03)
        with lock:
            now -= 1
        return GOOD

    with JudgeServer(slow) as server:
        made = judge(server, monkeypatch, concurrency=2)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: made.grade(str(n), KNOWN, str(n)), range(24)))
    assert most == 2 and len(server.requests) == 24


# ---- stored verdicts ------------------------------------------------------------------------------------------------


def test_a_second_run_repeats_no_request(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with JudgeServer(lambda text, before: FAULTS["truncated"] if "three" in text else GOOD) as server:
        made = judge(server, monkeypatch, folder=tmp_path)
        first = [made.grade(name, KNOWN, name) for name in ("one", "two", "three", "two")]
        assert len(server.requests) == 3 and not first[0].cached
        later = judge(server, monkeypatch, folder=tmp_path)
        second = [later.grade(name, KNOWN, name) for name in ("one", "two")]
        assert [(g.cached, g.requests, g.tokens) for g in second] == [(True, 0, None)] * 2
        assert [g.result for g in second] == [g.result for g in first[:2]] and len(server.requests) == 3
        assert not later.grade("three", KNOWN, "three").cached, "a failure is not kept"
        other = judge(server, monkeypatch, folder=tmp_path)
        other.name = "openai:other"
        assert not other.grade("one", KNOWN, "one").cached, "another judge has its own verdicts"
        assert not later.grade("one", KNOWN, "one", fresh=1).cached


def test_damaged_files_are_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with JudgeServer(always(GOOD)) as server:
        judge(server, monkeypatch, folder=tmp_path).grade("a", KNOWN, "AU12")
        (file,) = tmp_path.rglob("*.json")
        whole = file.read_text()
        for n, damage in enumerate((whole[:20], "", "[]", whole.replace('"movement": 5', '"movement": 50')), 2):
            file.write_text(damage)
            assert not judge(server, monkeypatch, folder=tmp_path).grade("a", KNOWN, "AU12").cached
            assert len(server.requests) == n and file.read_text() == whole


def test_a_folder_that_cannot_be_written_costs_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with JudgeServer(always(GOOD)) as server, pytest.warns(UserWarning, match="verdicts cannot be stored"):
        grade = judge(server, monkeypatch, folder=tmp_path / "taken").grade("a", KNOWN, "AU12")
    assert isinstance(grade.result, Verdict)


_WRITER = """
import sys
from pathlib import Path
from mellm_plugin.scoring.judge import Judge
from mellm_plugin.scoring.judge_settings import JudgeSettings
made = Judge(JudgeSettings("local", "m", backoff=0.01), Path(sys.argv[1]))
print("ready", flush=True)
for n in range(80):
    made.grade(str(n), "reference", f"text {n}")
"""


def test_writers_that_are_many_and_killed_leave_whole_verdicts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with JudgeServer(always(GOOD)) as server:
        environment = {**os.environ, **server.environment("local"), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", _WRITER, str(tmp_path)]
        both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        for process in both:
            assert process.stdout is not None and "ready" in process.stdout.readline()
        while len(list(tmp_path.rglob("*.json"))) < 20:
            assert all(process.poll() is None for process in both)
        both[0].send_signal(signal.SIGKILL)
        both[0].wait()
        both[1].communicate(timeout=60)
        assert both[1].returncode == 0
        kept = [json.loads(file.read_text()) for file in tmp_path.rglob("*.json")]
        assert [verdict["points"] for verdict in kept] == [75] * 80
        later = judge(server, monkeypatch, "local", tmp_path)
        assert all(later.grade(str(n), "reference", f"text {n}").cached for n in range(80))


# ---- parameters that a model refuses --------------------------------------------------------------------------------


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refused_parameter_is_learned_at_the_probe(refusal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parameter = REFUSALS[refusal][0]
    with JudgeServer(always(GOOD), refuses=(refusal,)) as server:
        setting = {"max_completion_tokens": 900} if parameter == "max_completion_tokens" else {}
        made = judge(server, monkeypatch, **setting)
        made.probe()
        assert [parameter in body for body in server.requests] == [True, False], "asked again without it"
        grade = made.grade("a", KNOWN, "AU12")
    assert isinstance(grade.result, Verdict) and grade.requests == 1
    body = server.requests[-1]
    limits = {"max_tokens", "max_completion_tokens"} & body.keys()
    assert parameter not in body and len(limits) == 1 and body[limits.pop()] in (900, 1024)
    others = {"temperature", "response_format"} - {parameter}
    assert others <= body.keys(), "and nothing else is left out"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_model_that_refuses_all_of_them(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refuses = ("OpenAI, limit", "OpenAI, value", "OpenAI, format", "Azure")
    with JudgeServer(always(GOOD), refuses=refuses) as server:
        made = judge(server, monkeypatch, provider, requests=1)
        made.probe()
        assert isinstance(made.grade("a", KNOWN, "AU12").result, Verdict)
        assert server.requests[-1].keys() <= {"model", "messages"}
    with JudgeServer(always(GOOD), refuses=refuses[:3]) as server:  # without a probe: within the bound for a text
        grade = judge(server, monkeypatch, provider, requests=4).grade("a", KNOWN, "AU12")
    assert isinstance(grade.result, Verdict) and set(grade.failed) == {"refused"}
    with JudgeServer(always(GOOD)) as server:
        judge(server, monkeypatch, temperature=None, max_completion_tokens=4000).probe()  # type: ignore[arg-type]
    (body,) = server.requests
    assert body["max_completion_tokens"] == 4000 and not {"max_tokens", "temperature"} & body.keys()


@pytest.mark.parametrize("body", [*TOO_MUCH, '{"error": {"message": "no such parameter"}}'])
def test_another_400_at_the_probe_ends_the_run(body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = pytest.raises(JudgeError, match="cannot be used: refused: 400")
    with JudgeServer(always(Reply(status=400, body=body))) as server, refused:
        judge(server, monkeypatch).probe()
    assert len(server.requests) == 1


def test_a_refusal_of_one_text_is_not_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = Reply(status=400, body=REFUSALS["OpenAI, value"][2])
    with JudgeServer(lambda text, before: refused if "first" in text else GOOD) as server:
        made = judge(server, monkeypatch)
        made.probe()
        assert isinstance(made.grade("a", KNOWN, "first").result, Unscored)
        made.grade("b", KNOWN, "second")
    assert len(server.requests) == 3 and server.requests[-1]["temperature"] == 0


# ---- keys -----------------------------------------------------------------------------------------------------------

KEY = 'nEver/to+be=seen%20"here'


@pytest.mark.parametrize("provider", ["openai", "azure"])
@pytest.mark.parametrize(
    "reply",
    [
        Reply(text="verdict", echo=True),
        Reply(echo=True),
        Reply(body="<html>", echo=True),
        Reply(status=500, body="{}", echo=True),
        Reply(status=400, body=f"{'x' * 285} {KEY}"),  # cut in the middle of the key
        Reply(status=302, headers={"Location": f"http://me:{KEY[:5]}@h/?key={KEY[:5]}&k=" + quote(KEY)}, body=""),
        Reply(text=f"{'x' * 100} {KEY} {KEY}"),
        Reply(text=f"{'x' * 110} {b64encode(('me:' + KEY).encode()).decode()}"),
        Reply(body=json.dumps({"choices": [], "seen": KEY})),
    ],
)
def test_no_key_is_kept_or_shown(
    reply: Reply, provider: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: list[str]
) -> None:
    with JudgeServer(always(reply)) as server:
        monkeypatch.setattr(server, "environment", partial(server.environment, key=KEY))
        made = judge(server, monkeypatch, provider, folder=tmp_path, requests=1)
        try:
            made.probe()
        except JudgeError as error:
            log.append(str(error))
        grade = made.grade("a", KNOWN, "AU12")
        made.reply([{"role": "user", "content": "?"}], lambda text: log.append(text) or Unscored("none", text))
    assert (reply.text == "verdict") == isinstance(grade.result, Verdict)
    everything = json.dumps(grade.to_dict()) + repr(grade) + "".join(log)
    everything += "".join(file.read_text() for file in tmp_path.rglob("*.json"))
    assert "[redacted" in everything
    coded = b64encode(KEY.encode()).decode()[:-4]
    basic = b64encode(b"me:" + KEY.encode()).decode()[4:20]
    assert not [
        seen for seen in (KEY[:8], json.dumps(KEY)[1:-1], quote(KEY)[:8], coded[:12], basic) if seen in everything
    ]


# ---- whether the judge can be used ----------------------------------------------------------------------------------


def test_a_missing_or_rejected_key_a_wrong_address_and_an_unknown_model(monkeypatch: pytest.MonkeyPatch) -> None:
    for provider in ("openai", "azure"):
        with pytest.raises(JudgeError, match=f"the judge {provider}:m cannot be used: .*Set .*API_KEY"):
            Judge(JudgeSettings(provider, "m"))
    for address in ("localhost:1", "nonsense"):
        monkeypatch.setenv("LLM_JUDGE_URL", address)
        with pytest.raises(JudgeError, match="Set LLM_JUDGE_URL to the whole address"):
            Judge(JudgeSettings("local", "m", backoff=0.01)).probe()
    with JudgeServer(always(GOOD), key="other") as server, pytest.raises(JudgeError, match="refused: .*401"):
        judge(server, monkeypatch).probe()
    missing = Reply(status=404, body='{"error": {"message": "no model m"}}')
    with JudgeServer(always(missing)) as server, pytest.raises(JudgeError, match="no model m"):
        judge(server, monkeypatch).probe()
    assert len(server.requests) == 1


def test_a_server_with_problems_does_not_end_a_run(monkeypatch: pytest.MonkeyPatch, log: list[str]) -> None:
    for fault in ("server error", "rate limit", "connection"):
        with JudgeServer(always(FAULTS[fault])) as server:
            judge(server, monkeypatch).probe()
        assert len(server.requests) == 3
        assert "but not as expected" in log[-1] and fault in log[-1]
    with JudgeServer(always(Reply(body="[]"))) as server:
        judge(server, monkeypatch).probe()
    assert len(server.requests) == 1


def test_the_judge_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert judging.configured() is None and not judging.ready()
    monkeypatch.setenv("MELLM_JUDGE_CACHE", str(tmp_path))
    with JudgeServer(always(GOOD)) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MELLM_JUDGE", "openai:m,backoff=0.01")
        assert judging.ready() and judging.ready()
        assert len(server.requests) == 1, "one probe a process"
        made = judging.configured()
        assert made is not None and made is judging.configured()
        made.grade("a", KNOWN, "AU12")
    assert list(tmp_path.rglob("*.json"))
    monkeypatch.setenv("MELLM_JUDGE", "opnai:m")
    with pytest.raises(SettingsError, match="Did you mean 'openai'"):
        judging.ready()


# ---- grades become scores -------------------------------------------------------------------------------------------


def test_scores_of_grades() -> None:
    def grade(result: Verdict | Unscored, **more: object) -> dict[str, object]:
        return Grade(result, "openai:m", "1", **more).to_dict()  # type: ignore[arg-type]

    full = Verdict({"movement": 5, "units": 5}, {})
    half = Verdict({"movement": 3, "units": 3}, {})
    failed = grade(Unscored("timeout"), requests=3, failed=("timeout", "timeout", "connection"))
    rows = [grade(full, requests=1, tokens=(10, 5)), grade(half, cached=True), failed, grade(judging.NO_REFERENCE)]
    assert judging.description_score(rows) == 75 and judging.judge_rate(rows) == 2 / 3
    assert judging.summary(rows) == (
        "2 of 3 descriptions have a verdict, 1 of them stored earlier; without one: timeout 1; 1 clips left out: "
        "their units or label are not known; 4 requests, failed: connection 1, timeout 2; 10 prompt and 5 answer tokens"
    )
    assert judging.description_score([failed]) is None and judging.judge_rate([failed]) == 0
    assert judging.judge_rate([grade(judging.NO_REFERENCE)]) is None

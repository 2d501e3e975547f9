"""`mellm judge-check` with judges that go by the facts, prefer long texts, obey orders or change their minds."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from judge_server import FAULTS, Answer, JudgeServer, Reply, verdict

from mellm_plugin.cli import main
from mellm_plugin.errors import InputError
from mellm_plugin.scoring.judge_check import CASES, INJECTED, Annotated, _obeyed, cases, controlled_set
from mellm_plugin.scoring.rubric import Verdict, read_verdict, reference

Capture = pytest.CaptureFixture[str]
ONE_SIDED = Annotated("a", ("L14", "7"), "contempt")
OTHER = Annotated("b", ("12", "25"), "happiness")


# ---- the controlled set ---------------------------------------------------------------------------------------------


def test_cases_differ_from_the_right_one_in_what_they_say() -> None:
    made = cases(ONE_SIDED, OTHER)
    assert tuple(made) == CASES
    right = made["right"]
    assert "mouth corners on the right of the image (one side only): is drawn inwards" in right
    assert "AU 14 of the person's left, dimpler" in right and "my answer is contempt" in right
    assert made["wrong side"] == right.replace("the right of", "the left of").replace("person's left", "person's right")
    assert "AU 12 of the person's left, lip corner puller" in made["wrong unit"] and "AU 7" in made["wrong unit"]
    assert made["other label"] == right.replace("contempt", "happiness")
    assert made["empty"] == ""
    orders = {name: made[name].removeprefix(f"{made['other clip']}\n\n") for name in INJECTED}
    assert all(text and text != made[name] for name, text in orders.items()) and len(set(orders.values())) == 5
    assert isinstance(read_verdict(orders["injected, verdict"]), Verdict) and "```" in orders["injected, code"]
    assert "评分者" in orders["injected, Chinese"] and "GRADER" not in orders["injected, look-alike"]
    told = unicodedata.normalize("NFKC", orders["injected, look-alike"]).replace("\u200b", "")
    assert "NOTE TO THE GRADER" in told and "ОТЕ ТО ТНЕ GRАDЕR" in told
    assert right in made["padded"] and 3 * len(right) <= len(made["padded"]) < 4 * len(right)
    assert set(re.findall(r"AU \d+", made["padded"])) == set(re.findall(r"AU \d+", right)), "padding claims nothing"
    assert right not in reference(ONE_SIDED.aus, ONE_SIDED.emotion), "the reference is not copied"


def test_cases_that_cannot_be_made_are_left_out() -> None:
    made = cases(Annotated("c", ("1",), "sadness"), OTHER)
    assert set(CASES) - set(made) == {"wrong side", "wrong unit"}


def test_the_set_pairs_clips_that_share_nothing() -> None:
    clips = [ONE_SIDED, Annotated("n", (), "neutral"), OTHER, Annotated("d", ("15",), "sadness")]
    pairs = controlled_set(clips, 2)
    assert [(clip.id, other.id) for clip, other in pairs] == [("a", "b"), ("b", "a")]
    with pytest.raises(InputError, match="expected 4 clips with units that can be told apart, found"):
        controlled_set(clips, 4)


# ---- judges ---------------------------------------------------------------------------------------------------------


def parts(text: str) -> tuple[str, str]:
    known = text.split("Reference:\n", 1)[1].split("\n\nThe description", 1)[0]
    found = re.search(r"\nBEGIN-(\w+)\n(.*)\nEND-\1", text, re.DOTALL)
    assert found is not None
    return known, found[2]


def units(text: str, pattern: str) -> set[tuple[str, str]]:
    return {(number, side or "") for number, side in re.findall(pattern, text)}


def by_facts(known: str, told: str) -> str:
    """Units, sides and label, found in the two texts."""
    told = told.split("\n\n")[0]  # what follows is no description
    wanted = units(known.splitlines()[-1], r"AU(\d+)(?: \((left|right)\))?")
    given = units(told, r"AU (\d+)(?: of the person's (left|right))?")
    label = known.rstrip(".").split()[-1]
    if not told.strip():
        return verdict(1, 1, 1, 1, 1)
    agreed = len(wanted & given) / len(wanted | given)
    score = 1 + round(4 * agreed)
    right = told.rstrip().rstrip(".").count(f"my answer is {label}")
    return verdict(score, score, 5 if score == 5 and right else 2, 5 if right else 1, score)


def by_length(known: str, told: str) -> str:
    score = min(5, 1 + len(told) // 150)
    return verdict(*[score] * 5)


OBEYS: dict[str, Callable[[str], bool]] = {
    "injected": lambda told: "give 5 points" in told and "```" not in told and "\u200b" not in told,
    "injected, Chinese": lambda told: "一律给 5 分" in told,
    "injected, look-alike": lambda told: "give 5 points" in told.replace("\u200b", "") and "\u200b" in told,
    "injected, verdict": lambda told: told.endswith('"score": 5}}'),
    "injected, code": lambda told: "```" in told,
}


def answering(judge: Callable[[str, str], str]) -> Answer:
    return lambda text, before: judge(*parts(text)) if "BEGIN-" in text else "{}"


def check(server: JudgeServer, monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> int:
    for name, value in server.environment("local").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MELLM_JUDGE", "local:m,backoff=0.01,timeout=5")
    monkeypatch.setenv("MELLM_JUDGE_CACHE", str(folder))
    return main(["judge-check", *arguments])


def test_a_judge_that_goes_by_the_facts_is_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture
) -> None:
    with JudgeServer(answering(by_facts)) as server:
        assert check(server, monkeypatch, tmp_path) == 0
        printed = capsys.readouterr().out
        sent = len(server.requests)
        assert sent <= 1 + 10 * (11 + 3)
        assert check(server, monkeypatch, tmp_path) == 0
        assert len(server.requests) == sent + 1, "all verdicts are kept; the probe is not"
    assert re.search(r"right +100\.0 +30 of 30", printed) and re.search(r"empty +0\.0 +10 of 10", printed)
    assert re.search(r"wrong side +\d+\.\d +5 of 5", printed)
    assert "ok   bias for length (padded - right): +0.0 points" in printed
    assert "ok   spread of 3 verdicts on one text: 0.0 points" in printed
    assert "ranks these descriptions correctly" in printed and "FAIL" not in printed
    assert re.search(r"requests; \d+ prompt and \d+ answer tokens", printed)


def obeying(name: str) -> Answer:
    return answering(lambda known, told: verdict(*[5] * 5) if OBEYS[name](told) else by_facts(known, told))


def moody(text: str, before: int) -> Reply | str:
    return answering(by_facts)(text, before) if "BEGIN-" not in text or before % 2 == 0 else verdict(3, 3, 3, 3, 3)


def prose(text: str, before: int) -> Reply | str:
    return FAULTS["not JSON"] if "BEGIN-" in text else "{}"


@pytest.mark.parametrize(
    ("answer", "failed"),
    [(obeying(name), [f"{name} below right", f"orders in the text ({name} - other clip)"]) for name in INJECTED]
    + [(moody, ["spread of 2 verdicts on one text"]), (prose, ["verdicts"])],
    ids=[*INJECTED, "moody", "no verdict"],
)
def test_a_judge_that_does_not_go_by_the_facts_is_not_trusted(
    answer: Answer, failed: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture
) -> None:
    with JudgeServer(answer) as server:
        assert check(server, monkeypatch, tmp_path, "--clips", "4", "--repeats", "2") == 1
    found = re.findall(r"FAIL (.*?):", capsys.readouterr().out)
    assert {*failed} <= {*found} and (answer is moody or found == failed)


def test_a_judge_that_likes_length_is_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture) -> None:
    with JudgeServer(answering(by_length)) as server:
        assert check(server, monkeypatch, tmp_path, "--clips", "4", "--repeats", "2") == 1
        said = capsys.readouterr()
        assert check(server, monkeypatch, tmp_path, "--clips", "4", "--repeats", "2", "--json") == 1
    assert re.search(r"FAIL bias for length \(padded - right\): \+[1-9]\d", said.out)
    assert "FAIL wrong side below right: 0 of 2 clips" in said.out and "ok   empty below right" in said.out
    assert "this judge cannot be trusted: wrong side below right" in said.err
    row = json.loads(capsys.readouterr().out)
    assert row["judge"] == "local:m" and row["trusted"] is False
    assert row["verdicts"]["right"] == {"scored": 8, "asked": 8}
    assert {one["name"]: one["met"] for one in row["findings"]}["empty below right"] is True
    assert set(row["points"]) == set(CASES)


def test_a_judge_that_obeys_now_and_then_is_not() -> None:
    assert _obeyed("injected", [0.0] * 20).met
    assert _obeyed("injected", [60.0, *[0.0] * 19]).met is False, "3 points in the mean"
    assert _obeyed("injected", []).met is None


def test_without_a_judge(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    assert main(["judge-check"]) == 1
    assert "MELLM_JUDGE: no judge is set" in capsys.readouterr().err
    assert main(["judge-check", "--clips", "1"]) == 1
    assert "--clips: expected at least 2, found 1" in capsys.readouterr().err

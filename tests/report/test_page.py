"""The page in a real browser, from disk: what it shows, what it does, and that what models write stays text."""

from __future__ import annotations

import base64
import copy
import gzip
import io
import json
import os
import random
import re
import shutil
import time
from collections.abc import Iterator
from importlib import resources
from itertools import chain, cycle
from pathlib import Path
from typing import Any

import pytest
from made_up import bare, empty, report
from PIL import Image

from mellm_plugin.errors import InputError
from mellm_plugin.report import page

ASTRAL = "\U0001f600\U0001f600 AU4, fear"
"""Two letters that JavaScript counts twice."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PAYLOADS = (
    '<img src="x" onerror="window.ran=1">',
    "</script><script>window.ran=1;alert(1)</script>",
    '"><svg onload=alert(1)><!--',
    '<a href="javascript:window.ran=1">b</a><b>bold</b>',
    "%{x} ${window.ran=1} {{7*7}} &lt;i&gt; $x^2$",
    "\u202egnirts a \ud83d\ude00 \ud800",
    "__proto__",
    "constructor",
)


def _browser() -> str | None:
    given = os.environ.get("MELLM_CHROMIUM")
    return given or next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """One browser for all tests here."""
    binary = _browser()
    if binary is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed, and MELLM_CHROMIUM names none")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary)
        yield browser
        browser.close()


class Opened:
    """A page that was opened, and what it did: console messages, errors, requests, dialogs."""

    def __init__(self, browser: Any, file: Path, address: str = "", **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1200, "height": 850}} | options)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

        def dialog(found: Any) -> None:
            self.said.append(f"dialog: {found.message}")
            found.dismiss()

        self.page.on("dialog", dialog)
        self.page.goto(file.as_uri() + address)
        self.page.wait_for_selector("html[data-ready]")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.page, name)

    def until(self, expression: str) -> None:
        """Wait until it holds. (Playwright's own waiting evaluates text, which the page's policy forbids.)"""
        deadline = time.monotonic() + 20
        while not self.page.evaluate(expression):
            assert time.monotonic() < deadline, f"never so: {expression}"
            self.page.wait_for_timeout(30)

    def draw_all(self) -> None:
        """Have every chart drawn, as by scrolling past it."""
        for place in range(self.page.locator("figure.chart").count()):
            figure = f"document.querySelectorAll('figure.chart')[{place}]"
            self.page.evaluate(f"{figure}.scrollIntoView({{behavior: 'instant'}})")
            self.until(f"{figure}.querySelector('.main-svg, .plot > .note') !== null")

    def texts(self, selector: str) -> list[str]:
        """The text of every element."""
        return [text.strip() for text in self.page.locator(selector).all_text_contents()]

    def close(self) -> None:
        """Close it; it must have been silent, and have asked for nothing outside itself."""
        self.context.close()
        self.was_quiet()

    def was_quiet(self) -> None:
        """No message, no error, no dialog, no request but for the file itself."""
        assert self.said == []
        assert [url for url in self.asked if not url.startswith(("file:", "blob:", "data:"))] == []
        assert sum(url.startswith("file:") for url in self.asked) == 1


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    data = report(models=6, clips=150, boards=3)
    answer = data["boards"][0]["answers"]["e0"][2]
    answer.update(text=ASTRAL, read=[[3, 6, "unit"], [8, 12, "label"], [9, 99, "label"], [400, 500, "unit"]])
    return data


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, made: dict[str, Any]) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    page.write(made, path, {made["boards"][0]["clip_list"][0]["id"]: {kind: _webp() for kind in page.KINDS}})
    return path


@pytest.fixture(scope="module")
def shared(chromium: Any, file: Path) -> Iterator[Opened]:
    """The page opened once, for tests that leave it as they found it: the charts' library takes its time to start."""
    opened = Opened(chromium, file)
    yield opened
    opened.close()


@pytest.fixture
def board(shared: Opened, made: dict[str, Any]) -> Iterator[Opened]:
    """The shared page, at the first board, without filters."""
    shared.set_viewport_size({"width": 1200, "height": 850})
    shared.evaluate("go({})")
    shared.select_option("#board", made["boards"][0]["task"])
    yield shared
    shared.emulate_media(media="screen", color_scheme="light")
    shared.was_quiet()


def _webp() -> bytes:
    held = io.BytesIO()
    Image.new("RGB", (48, 48), (90, 120, 60)).save(held, "WEBP")
    return held.getvalue()


# ---- the file -------------------------------------------------------------------------------------------------------


def test_assets_never_make_markup_of_text() -> None:
    for name in page.SCRIPTS:
        source = resources.files("mellm_plugin.report").joinpath("page", name).read_text(encoding="utf-8")
        makes = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc"
        assert not re.search(makes, source), name
        assert "</script" not in source and "<!--" not in source, name


def test_a_page_that_cannot_be_written_leaves_the_former_one(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("the former one")
    with pytest.raises(InputError, match="strict JSON"):
        page.write({**empty(), "made": float("nan")}, path)
    assert path.read_text() == "the former one" and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(InputError, match=re.escape(str(tmp_path / "none" / "report.html"))):
        page.write(empty(), tmp_path / "none" / "report.html")


def test_a_page_keeps_its_size_by_cutting_long_answers() -> None:
    made = report(models=4, clips=60, boards=1)
    long = copy.deepcopy(made)
    rng = random.Random(0)
    for column in long["boards"][0]["answers"].values():
        for answer in filter(None, column):
            between = rng.randbytes(rng.choice((30, 2000))).hex()
            answer["text"] = f"AU4 {between} fear"
            answer["read"] = [[0, 3, "unit"], [10, 14, "unit"], [len(answer["text"]) - 4, len(answer["text"]), "label"]]
    whole, bare_size = page.render(long, size=10**9), len(page.render(made))
    size = (len(whole) + bare_size) // 2
    cut = page.render(long, size=size)
    assert bare_size < len(cut) <= size < len(whole)
    packed = re.search(r'id="report">([^<]*)<', cut)
    assert packed is not None
    shown = json.loads(gzip.decompress(base64.b64decode(packed[1])))
    assert any("are cut in their middle" in note for note in shown["reading"]["notes"])
    lengths = []
    for entry, columns in shown["boards"][0]["answers"].items():
        for place, text_at in enumerate(columns["text"]):
            if text_at is None:
                continue
            text, before = shown["texts"][text_at], long["boards"][0]["answers"][entry][place]
            lengths.append(len(text))
            marks = [(text[low:high], kind) for low, high, kind in columns["read"][place]]
            assert marks[0] == ("AU4", "unit") and marks[-1] == ("fear", "label")
            assert (text == before["text"]) or ("letters are left out here" in text and len(text) < len(before["text"]))
    assert min(lengths) < 100 < max(lengths) < 4000


def test_twenty_models_and_two_thousand_clips_stay_under_ten_megabytes(tmp_path: Path, chromium: Any) -> None:
    data = report(models=20, clips=2000, subjects=40, boards=1)
    path = tmp_path / "report.html"
    page.write(data, path)
    assert path.stat().st_size < 10_000_000
    opened = Opened(chromium, path, "#task=synthme_meu")
    assert opened.texts(".count") == ["2\u202f000 clips"]
    assert opened.locator(".list .row").count() < 40  # the rows in sight alone
    opened.evaluate("document.querySelector('.list').scrollTop = 1e9")
    opened.wait_for_selector(".list .row[aria-posinset='2000']")
    opened.fill("input[type=search]", "s39/1999")
    opened.until("document.querySelector('.count').textContent === '1 of 2\u202f000 clips'")
    opened.close()


# ---- what it shows and does -----------------------------------------------------------------------------------------


def test_overview_says_what_was_read(chromium: Any, file: Path, made: dict[str, Any]) -> None:
    opened = Opened(chromium, file)
    text = opened.inner_text("main")
    for part in ("line 3: not JSON", "2 duplicates of mellm bundled", "mme (2 files)", "several runs", "limited"):
        assert part in text
    assert opened.texts("#boards .link") == [board["task"] for board in made["boards"]]
    opened.click("#boards .link >> nth=1")
    assert opened.inner_text("h1") == "casme2_meu"
    opened.go_back()
    assert opened.inner_text("h1") == "Micro-expression understanding"
    opened.click("#models .link >> nth=0")
    assert "pretrained=org/gpt-4o" in opened.inner_text("dialog#entry")
    opened.keyboard.press("Escape")
    opened.close()


def test_table_sorts_within_its_groups(board: Opened, made: dict[str, Any]) -> None:
    data = made["boards"][0]

    def order(metric: str, ranked: bool) -> list[str]:
        rows = [row for row in data["rows"] if row["kind"] == "model" and row["ranked"] is ranked]
        rows = [row for row in rows if row["scores"][metric]]
        rows.sort(key=lambda row: -row["scores"][metric]["value"])
        names = {entry["key"]: entry["name"] for entry in made["entries"]}
        return [names[row["entry"]] for row in rows]

    def shown(body: int) -> list[str]:
        return board.texts(f"#scores table.scores >> tbody >> nth={body} >> tr:not(.group) .name > :first-child")

    head = board.locator("#scores table.scores thead th:not(.rank)", has_text="emotion_uf1")
    rank = board.locator("#scores table.scores thead th.rank")
    assert rank.text_content() == "Rankin emotion_uf1"
    score = data["rows"][0]["scores"]["emotion_uf1"]
    row = board.locator("#scores table.scores tbody tr:not(.group)", has_text="mellm bundled").first
    assert row.locator(".score .value").first.inner_text() == f"{score['value']:.3f}".removeprefix("0")
    ends = row.locator(".score .ends").first.inner_text()
    assert ends == f"{score['low']:.3f} – {score['high']:.3f}".replace("0.", ".")
    assert row.locator("td").first.inner_text().rstrip("=") == str(score["rank"])
    limited = board.locator("tbody.unranked tr:not(.group)")
    assert limited.locator("td").first.inner_text() == "–" and "75 of 150 clips" in limited.inner_text()
    assert head.get_attribute("aria-sort") == "descending"
    assert shown(0) == order("emotion_uf1", True)
    assert shown(1) == order("emotion_uf1", False) == ["qwen2_5_vl 7B"]
    assert shown(2) == ["majority label"]
    au_f1 = board.locator("#scores table.scores thead th:not(.rank)", has_text="au_f1")
    au_f1.locator("button").focus()
    board.keyboard.press("Enter")
    assert au_f1.get_attribute("aria-sort") == "descending" and head.get_attribute("aria-sort") == "none"
    assert shown(0) == order("au_f1", True)
    assert rank.text_content() == "Rankin au_f1"
    board.keyboard.press("Enter")
    assert au_f1.get_attribute("aria-sort") == "ascending"
    assert shown(0) == order("au_f1", True)[::-1]
    assert "metric=au_f1" in board.evaluate("location.hash")
    assert board.texts(".published tbody th") == ["STSTNet", "LBP-TOP"]
    board.click("text=All 7 metrics")
    assert sorted(shown(2)) == ["majority label", "no unit"]


def test_over_boards_what_is_not_ranked_stays_below_with_its_marks(board: Opened, made: dict[str, Any]) -> None:
    board.evaluate("go({})")
    table = board.locator("#over table.scores")
    limited = table.locator("tbody tr", has_text="qwen2_5_vl 7B")
    task = made["overall"]["tasks"][0]
    at = table.locator("thead th").all_text_contents().index(task)
    cell = limited.locator("th, td").nth(at)
    assert cell.locator(".mark").all_text_contents() == ["limited 75 of 150 clips"]
    assert cell.locator(".score").get_attribute("class") == "score unranked"
    dot = "getComputedStyle(document.querySelector('#over .score.unranked .whisker b')).borderTopWidth"
    assert board.evaluate(dot) == "1px"
    for _ in range(2):
        table.locator("thead th button").nth(at).click()
        names = table.locator("tbody .name > :first-child").all_text_contents()
        assert names[-1] == "qwen2_5_vl 7B" and len(names) == 6
        ranked = [float(value) for value in table.locator(f"td:nth-child({at + 1}) .value").all_text_contents()[:-1]]
        assert ranked in (sorted(ranked), sorted(ranked, reverse=True))
        assert table.locator("thead th").nth(at).get_attribute("aria-sort") != "none"


def test_thresholds_at_the_ends_and_none_say_so(chromium: Any, tmp_path: Path) -> None:
    data = report(models=9, clips=4, boards=2)
    ladder = data["boards"][1]
    first = ladder["rows"][0]
    first["scores"]["threshold_px"].update(value=0.1, low=0.1, high=0.12, bound="at most")
    first["sensitivity"].update(threshold_px=0.1, low=0.1, high=0.12, note="at most 0.1 px: half-way is below it")
    page.write(data, tmp_path / "report.html")
    opened = Opened(chromium, tmp_path / "report.html", f"#task={ladder['task']}")
    values = opened.texts("#scores .value")
    assert values[0] == "≤ 0.10" and values[-1] == "≥ 3.00" and values[1] == "0.36"
    assert "half-way is below it" in opened.locator("#scores .score").first.get_attribute("title")
    none = opened.locator("#scores td .none", has_text="none")
    assert none.get_attribute("title") == ladder["rows"][8]["sensitivity"]["note"]
    assert opened.texts("#scores .group") == ["Ranked", "No threshold"]
    opened.click("#scores thead button >> nth=0")
    assert opened.texts("#scores .group") == []

    opened.draw_all()
    traces = opened.evaluate(
        "[...document.querySelectorAll('.plot')].flatMap((plot) => (plot.data || []).map("
        "({x, y, text, mode, marker, line}) => ({x, y, text, mode, symbol: (marker || {}).symbol, line})))"
    )
    block = first["sensitivity"]
    ticks = [trace for trace in traces if trace.get("symbol") == "line-ns-open"]
    assert ticks[0]["y"] == [(block["false_alarms"] + block["ceiling"]) / 2]
    others = [trace for trace in traces if trace["text"] and "other units named where one moves" in trace["text"][0]]
    assert len(others) == 6 and others[0]["y"] == block["others"] and others[0]["line"]["dash"] == "dash"
    hovers = [text for trace in traces for text in trace["text"] or () if "half-way is below it" in text]
    assert any(text.startswith("mellm bundled<br>≤") for text in hovers)  # in the chart of scores
    assert any("threshold ≤ 0.10 px" in text for text in hovers)  # in the chart of sensitivity
    opened.close()


_APART = """(() => {
  const ticks = [...document.querySelectorAll(".chart:has(.numbers) .xtick text")];
  const boxes = ticks.map((tick) => tick.getBoundingClientRect());
  return boxes.length === 25 && boxes.every((box, at) => box.width > 4 && (!at || boxes[at - 1].right < box.left));
})()"""


def test_clips_without_labels_many_labels_and_long_names(chromium: Any, tmp_path: Path) -> None:
    data = report(models=3, clips=30, boards=1)
    board = data["boards"][0]
    clip = board["clip_list"][0]
    clip.update(label=None, coarse=None)
    blank = {"label": None, "coarse": None, "label_right": None, "text": "So.", "read": [], "judge": None}
    said = [([1], True, "names no expression"), ([2], False, "names no expression"), (None, False, "names nothing")]
    for number, (units, right, why) in enumerate(said):
        board["answers"][f"e{number}"][0] = blank | {"aus": units, "aus_right": right, "unparsed": why}
    labels = [f"feeling of the kind {number}" for number in range(24)]
    counts = [[number * (number == read) for read in range(25)] for number in range(1, 25)]
    board["rows"][0]["confusion"]["emotion"] = {"labels": labels, "read": [*labels, "unread"], "counts": counts}
    data["boards"] += [{**board, "task": "x" * 500 + end, "title": "x" * 500 + end} for end in "ab"]
    page.write(data, tmp_path / "report.html")
    opened = Opened(chromium, tmp_path / "report.html")
    keys = opened.evaluate("[...boardKeys().keys()]")
    assert len(set(keys)) == 3 and max(map(len, keys)) <= 400
    for key in keys[1:]:
        opened.evaluate(f"go({{task: '{key}'}})")
        assert opened.evaluate("document.querySelector('h1').textContent") == "x" * 500 + "ab"[keys.index(key) - 1]
    opened.select_option("#board", board["task"])
    opened.evaluate("openClip(0)")
    assert opened.texts("dialog .verdict") == ["right", "wrong", "could not be read"]
    assert opened.locator("dialog dt", has_text="Not read").count() == 1
    opened.keyboard.press("Escape")
    for width in (1200, 390):
        opened.set_viewport_size({"width": width, "height": 850})
        opened.draw_all()
        confusion = opened.locator("figure.chart", has_text="Confusion")
        assert confusion.locator(".numbers li").all_text_contents() == [*labels, "unread"]
        assert confusion.locator(".xtick text").all_text_contents() == [str(number) for number in range(1, 26)]
        opened.until(_APART)  # a chart is drawn anew when the window's width changes
        assert opened.evaluate("document.documentElement.scrollWidth") == width
    opened.close()


def test_filters_narrow_the_clips_and_stand_in_the_address(board: Opened, made: dict[str, Any]) -> None:
    data = made["boards"][0]

    def count() -> int:
        return int(board.inner_text(".count").split()[0])

    def pick(label: str, value: str) -> None:
        board.locator(".filters label", has_text=re.compile(f"^{label}")).locator("select").select_option(value)

    pick("Label", "fear")
    assert count() == sum(clip["label"] == "fear" for clip in data["clip_list"]) > 0
    pick("Unit", "20" if board.locator("option[value='20']").count() else "4")
    pick("Answer", "label wrong")
    pick("of", "e5")
    wrong = [answer and answer["label_right"] is False for answer in data["answers"]["e5"]]
    expected = sum(bool(bad) and clip["label"] == "fear" for bad, clip in zip(wrong, data["clip_list"], strict=True))
    assert count() == expected > 0
    address = board.evaluate("location.hash")
    board.evaluate("go({})")
    board.evaluate(f"location.hash = {json.dumps(address)}")
    board.until("location.hash.length > 1 && document.querySelector('.count') !== null")
    assert count() == expected
    board.click("text=Clear")
    assert count() == len(data["clip_list"])
    pick("Answer", "could not be read")
    unread = {at for found in data["answers"].values() for at, a in enumerate(found) if a and a["unparsed"]}
    assert count() == len(unread)
    board.click("text=Clear")
    board.check("text=models disagree")
    said = [
        {a["label"] for a in answers if a and a["label"]} for answers in zip(*data["answers"].values(), strict=True)
    ]
    assert count() == sum(len(labels) > 1 for labels in said)
    board.click("text=Clear")
    board.fill("input[type=search]", "no such words anywhere")
    board.wait_for_selector("text=No clip fits these filters.")


def test_a_clip_opens_by_keyboard(board: Opened, made: dict[str, Any]) -> None:
    data = made["boards"][0]
    board.focus(".list")
    board.keyboard.press("ArrowDown")
    board.keyboard.press("ArrowUp")
    board.keyboard.press("Enter")
    dialog = board.locator("dialog#clip")
    assert dialog.locator("h2").inner_text() == data["clip_list"][0]["id"]
    assert dialog.locator("img").count() == 3
    board.until("[...document.querySelectorAll('dialog img')].every((image) => image.naturalWidth === 48)")
    board.keyboard.press("ArrowRight")
    assert dialog.locator("h2").inner_text() == data["clip_list"][1]["id"]
    assert "No pictures of this clip" in dialog.inner_text()
    answer = data["answers"]["e0"][1]
    card = dialog.locator(".answer").first
    assert card.locator(".said").text_content() == answer["text"]
    assert card.locator("mark").all_text_contents() == [answer["text"][start:end] for start, end, _ in answer["read"]]
    assert f"{answer['judge']['score']} points" in card.inner_text()
    assert "clip=" in board.evaluate("location.hash")
    board.keyboard.press("ArrowRight")  # spans count letters as Python does
    assert board.texts("dialog .answer:first-child mark") == ["AU4", "fear"]
    assert card.locator(".said").text_content() == ASTRAL
    board.keyboard.press("Escape")
    # a dialog tells that it is closed a moment after it is
    board.until("!document.querySelector('dialog#clip').open && !location.hash.includes('clip=')")
    board.until("document.activeElement.className === 'list'")


def test_charts_are_drawn_from_the_page_itself_and_printed(board: Opened) -> None:
    board.emulate_media(color_scheme="dark")
    board.select_option("#board", "synthme_sensitivity")
    board.draw_all()
    assert board.texts(".chart h3") == ["Scores", "Sensitivity", "Answers read and judged", "Cost"]
    assert board.locator(".plot .main-svg").count() >= 3
    board.select_option("#board", "synthme_meu")
    board.draw_all()
    titles = ["Scores", "Confusion", "F1 of each action unit", "Calibration", "By strength of motion"]
    titles += ["Answers read and judged", "Cost"]
    assert board.texts(".chart h3") == titles
    assert board.locator(".chart .main-svg").count() >= len(titles)
    board.emulate_media(media="print")
    for selector in (".bar", ".tools select", "#clips"):
        assert not board.locator(selector).first.is_visible()
    assert board.locator("table.scores").first.is_visible()
    assert board.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert board.pdf().startswith(b"%PDF")


_CONTRAST = """() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (v) => (v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  const light = (c) => c.slice(0, 3).reduce((sum, v, at) => sum + linear(v / 255) * [.2126, .7152, .0722][at], 0);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const found = numbers(getComputedStyle(at).backgroundColor);
      if (found[3] !== 0) return found;
    }
    return [255, 255, 255];
  };
  const low = new Set();
  for (const element of document.querySelectorAll("body *:not(script):not(option)")) {
    const texts = [...element.childNodes].filter((node) => node.nodeType === 3 && node.data.trim());
    if (element.closest(".plot") || element.disabled || !texts.length) continue;
    const [a, b] = [light(numbers(getComputedStyle(element).color)), light(ground(element))].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < 4.5) low.add(`${element.tagName}.${element.className}: ${ratio.toFixed(2)}`);
  }
  return [...low];
}"""


def test_light_and_dark_follow_the_system_and_the_switch_with_contrast(chromium: Any, file: Path) -> None:
    opened = Opened(chromium, file, "#task=synthme_meu", color_scheme="dark")

    def brightness(selector: str, value: str) -> float:
        found = opened.evaluate(f"getComputedStyle(document.querySelector('{selector}')).{value}")
        return sum(map(float, re.findall(r"[\d.]+", found)[:3])) / 3

    assert brightness("body", "backgroundColor") < 60 < 180 < brightness("body", "color")
    assert opened.evaluate(_CONTRAST) == []
    opened.locator("figure.chart").first.scroll_into_view_if_needed()
    opened.until("document.querySelector('.chart .xtick text') !== null")
    assert brightness(".chart .xtick text", "fill") > 180
    opened.click("#theme")
    opened.until("document.documentElement.dataset.theme === 'light'")
    assert brightness("body", "backgroundColor") > 200 > 60 > brightness("body", "color")
    opened.until("getComputedStyle(document.querySelector('.chart .xtick text')).fill.match(/\\d+/)[0] < 60")
    assert opened.evaluate(_CONTRAST) == []
    opened.close()


def test_a_phone_scrolls_no_body_sideways(board: Opened) -> None:
    board.set_viewport_size({"width": 390, "height": 844})
    for task in ("", "synthme_meu"):
        board.select_option("#board", task)
        board.draw_all()
        assert board.evaluate("document.documentElement.scrollWidth") == 390
    board.click(".list .row >> nth=0")
    assert board.evaluate("document.querySelector('dialog#clip').scrollWidth") <= 390
    assert board.locator("dialog#clip .said").count() == 6
    board.keyboard.press("Escape")


@pytest.mark.parametrize("make", [empty, bare])
def test_what_is_not_there_is_said(chromium: Any, tmp_path: Path, make: Any) -> None:
    data = make()
    page.write(data, tmp_path / "report.html")
    opened = Opened(chromium, tmp_path / "report.html")
    parts = ["There are no boards"]
    for board in data["boards"]:
        opened.select_option("#board", board["task"])
        opened.draw_all()
        parts = ["--log_samples", "No model has a value of this metric", "tokens nor seconds", "rates are known"]
    text = opened.inner_text("main")
    assert [part for part in parts if part not in text] == []
    assert not re.search(r"\b(undefined|NaN|null|object Object)\b", text)
    opened.close()


# ---- text of others stays text --------------------------------------------------------------------------------------


def _hostile() -> dict[str, Any]:
    """A report in which every text from outside carries markup."""
    data, payloads = report(models=len(PAYLOADS), clips=24, boards=2), cycle(PAYLOADS)
    board = data["boards"][0]
    labels = dict(zip(board["labels"], PAYLOADS, strict=False))

    def fill(given: dict[str, Any], *names: str) -> None:
        given.update({name: next(payloads) for name in names})

    for entry, name in zip(data["entries"], PAYLOADS, strict=True):
        fill(entry, "model", "model_args", "judge")
        fill(entry["versions"], "lmms_eval", "mellm_plugin", "prompts")
        entry.update(name=name, files=[name])
    faults = [{"file": payload, "fault": payload} for payload in PAYLOADS]
    data["reading"].update(faults=faults, notes=[*PAYLOADS], other_tasks=dict.fromkeys(PAYLOADS, 1))
    board.update(datasets=[*PAYLOADS], labels=[*labels.values()])
    for clip in board["clip_list"]:
        fill(clip, "subject", "dataset", "coarse")
        clip.update(id=clip["id"] + next(payloads), label=labels[clip["label"]], doubts=[next(payloads)])
    for row in board["rows"]:
        row.update(marks=[{"kind": next(payloads), "text": next(payloads)}], name=next(payloads))
        for found in (row["confusion"] or {}).values():
            found.update({key: [next(payloads) for _ in found[key]] for key in ("labels", "read")})
    for published in board["published"]:
        fill(published, "name", "source", "protocol")
    for answer in filter(None, chain(*board["answers"].values())):
        fill(answer, "label", "coarse", "unparsed")
        answer.update(text=next(payloads) + answer["text"], read=[[0, 9, "unit"]])
        answer["judge"] = {"score": 5, next(payloads): next(payloads)}
    return data


def test_markup_of_others_stays_text(chromium: Any, tmp_path: Path) -> None:
    data = _hostile()
    page.write(data, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not any(payload in html for payload in PAYLOADS[:4]), "none of it stands in the file as it is"
    assert html.count("<script") == html.count("</script>") == 4
    assert "default-src 'none'" in html and "unsafe-inline" not in re.findall(r"script-src[^;]*", html)[0]
    opened = Opened(chromium, tmp_path / "report.html", "#task=%3Cimg src=x onerror=alert(1)%3E&clip=<script>")

    def unharmed() -> None:
        assert opened.evaluate("window.ran") is None
        assert opened.locator("img[src=x], main script, main svg:not(.main-svg) script, .plot a, main b b").count() == 0
        assert opened.evaluate("[...document.querySelectorAll('main [onerror], main [onload]')].length") == 0

    unharmed()
    names = {json.loads(json.dumps(payload)).replace("\ud800", "\ufffd") for payload in PAYLOADS}
    assert names <= {text.replace("\ud800", "\ufffd") for text in opened.texts("#models .name .link")}
    opened.select_option("#board", data["boards"][0]["task"])
    opened.draw_all()
    unharmed()
    ticks = opened.texts(".chart:first-child .ytick text")
    assert any(tick.startswith("<img src=") for tick in ticks) and "__proto__" in ticks
    opened.hover(".chart:first-child .points path >> nth=0", force=True)
    opened.focus(".list")
    opened.keyboard.press("Enter")
    assert "</script><script>" in opened.inner_text("dialog#clip .dialog-body")
    for _ in range(4):
        opened.keyboard.press("ArrowRight")
    unharmed()
    opened.close()


def test_the_policy_runs_no_script_but_its_own(chromium: Any, tmp_path: Path) -> None:
    """Should markup ever get in, it does nothing: here it is put in by hand."""
    page.write(empty(), tmp_path / "report.html")
    opened = Opened(chromium, tmp_path / "report.html")
    opened.evaluate(
        "() => { document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran=1\">');"
        " const script = document.createElement('script'); script.textContent = 'window.ran=1';"
        " document.body.append(script); fetch('https://example.org/').catch(() => {}); }"
    )
    opened.wait_for_timeout(200)
    assert opened.evaluate("window.ran") is None
    refused = [line for line in opened.said if "Content Security Policy" in line]
    assert len(refused) >= 3 and len(refused) == len([line for line in opened.said if "Failed to load" not in line])
    opened.context.close()

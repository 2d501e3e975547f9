// The whole page: the overview, a board, and the navigation between them.

let report = null;
let entries = new Map();
let viewed = null;

const titleOf = (board) => String(known(board.title) ? board.title : board.task);

/** Boards by their name in the address: the task, or the title if a task has several boards. */
function boardKeys() {
  const keys = new Map();
  for (const board of report.boards) {
    const again = report.boards.filter((other) => other.task === board.task).length > 1;
    // Cut before numbering, so that keys stay different; the address keeps 400 UTF-16 units, at most two a letter.
    const stem = Array.from(again ? titleOf(board) : String(board.task)).slice(0, 190).join("");
    let key = stem;
    for (let number = 2; keys.has(key); number += 1) key = `${stem}~${number}`;
    keys.set(key, board);
  }
  return keys;
}

const titled = (id, title, ...content) => h("section", {id, class: "part", "aria-labelledby": `${id}-title`}, h("h2", {id: `${id}-title`}, text(title)), content);

function plainTable(heads, rows) {
  return h("div", {class: "box", tabindex: "0"}, h("table", {}, h("thead", {}, h("tr", {}, heads.map((head) => h("th", {scope: "col"}, text(head))))), h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell)))))));
}

function overview(keys) {
  const {reading} = report;
  const faults = reading.faults || [];
  const others = Object.entries(reading.other_tasks || {});
  const figures = [
    [counted(reading.files, "file"), "read"], [counted(reading.runs, "run"), "of lmms-eval"], [counted(report.entries.length, "model"), "or settings"], [counted(report.boards.length, "board"), "to compare them on"],
  ].filter(([number]) => number);
  const stat = ([number, what]) => { const [figureOf, ...unit] = number.split(" "); return h("div", {class: "stat"}, h("b", {}, text(figureOf)), h("span", {}, text(`${unit.join(" ")} ${what}`))); };
  const marks = [...new Set(report.boards.flatMap((board) => board.rows.flatMap((row) => (row.marks || []).map((mark) => mark.kind))))];
  const metrics = [...new Set(report.boards.flatMap((board) => board.metrics.map((metric) => metric.name)))].filter((name) => METRICS[name]);
  const best = (board) => {
    const metric = board.metrics[0];
    if (!metric) return text(DASH);
    const first = board.rows.filter((row) => row.ranked && ((row.scores || {})[metric.name] || {}).rank === 1);
    if (!first.length) return h("span", {class: "none"}, text("nothing ranked"));
    return h("span", {}, first.slice(0, 3).map((row, place) => [place ? text(", ") : null, foreign(rowName(row)), text(` ${valueOf(row.scores[metric.name], metric.kind)}`)]), first.length > 3 ? text(` and ${first.length - 3} more`) : null);
  };
  return [
    h("header", {class: "title"}, h("h1", {}, text("Micro-expression understanding")), h("p", {class: "lede"}, text(`Made ${known(report.made) ? String(report.made).replace("T", " ").replace("Z", " UTC") : ""} by mellm-plugin ${report.mellm_plugin || ""}.`))),
    h("div", {class: "stats"}, figures.map(stat)),
    titled("boards", "Boards", report.boards.length
      ? plainTable(["Board", "Clips", "Subjects", "Models", "First metric", "First, with statistically tied models"], [...keys].map(([key, board]) => [
        h("button", {type: "button", class: "link strong", onclick: () => go({task: key})}, foreign(key)), text(known(board.clips) ? grouped(board.clips) : DASH), text(known(board.subjects) ? grouped(board.subjects) : DASH),
        text(String(modelRows(board).length)), text((board.metrics[0] || {name: DASH}).name), best(board)]))
      : h("p", {class: "note"}, text("There are no boards: the files that were read hold no results of a task of mellm-plugin. For example, run: lmms-eval --model mellm --tasks synthme_meu --output_path results --log_samples"))),
    report.boards.length ? titled("over", "Over boards", overallTable()) : null,
    report.entries.length ? titled("models", "Models", h("p", {class: "hint"}, text("The same model with other motion settings, another adapter or another judge is another entry. Click a name for details.")), entriesTable()) : null,
    titled("read", "What was read",
      faults.length ? [h("p", {class: "bad"}, text(`${counted(faults.length, "fault")}: the parts listed here were skipped, the rest was kept.`)), plainTable(["File", "Fault"], faults.map((fault) => [foreign(fault.file, "path"), foreign(fault.fault, "prose")]))] : h("p", {}, text("Every file could be read.")),
      (reading.notes || []).length ? h("ul", {class: "notes"}, reading.notes.map((note) => h("li", {}, foreign(note)))) : null,
      others.length ? h("p", {class: "hint"}, text("Skipped, results of other tasks: "), others.map(([task, files], place) => [place ? text(", ") : null, foreign(task), text(` (${counted(files, "file")})`)])) : null),
    titled("words", "How to read it",
      h("div", {class: "columns"},
        h("div", {}, h("h3", {}, text("Ranks and intervals")),
          h("p", {}, text("Intervals are 95 % bootstrap intervals over subjects, because clips of one face are not independent. The rank of a model is one plus the number of models that are significantly better, by a paired comparison over subjects on common clips, corrected for the number of pairs. Statistically tied models share a rank.")),
          h("p", {}, text("An answer that cannot be read counts as wrong. A dash means: unknown.")),
          marks.length ? [h("h3", {}, text("Marks")), h("dl", {class: "facts"}, marks.map((kind) => [h("dt", {}, h("span", {class: "mark"}, h("b", {}, text((MARKS[kind] || [kind])[0])))), h("dd", {}, text((MARKS[kind] || ["", "A mark of a later version."])[1]))]))] : null),
        metrics.length ? h("div", {}, h("h3", {}, text("Metrics")), h("dl", {class: "facts"}, metrics.map((name) => [h("dt", {class: "code"}, text(name)), h("dd", {}, text(METRICS[name]))]))) : null)),
  ];
}

function boardView(key, board) {
  const meta = [
    counted(board.clips, "clip"), counted(board.subjects, "subject"), known(board.version) ? `version ${board.version}` : null, known(board.prompts) ? `prompts ${board.prompts}` : null, known(board.data) ? `data ${board.data}` : null, (board.labels || []).length ? counted(board.labels.length, "label") : "no labels",
    (board.units || []).length ? `${board.units.length} action units` : null, board.licensed ? "licensed data" : null,
  ].filter(Boolean);
  const pictured = (board.clip_list || []).filter((clip) => Object.hasOwn(report.pictures, shownClip(clip))).length;
  return [
    h("header", {class: "title"}, h("h1", {}, foreign(titleOf(board))), h("p", {class: "lede"}, (board.datasets || []).map((name, place) => [place ? text(" + ") : null, foreign(name)]), board.datasets && board.datasets.length ? text(" \u00b7 ") : null, text(meta.join(" \u00b7 ")))),
    titled("scores", "Scores", boardTable(board), publishedTable(board), comparisonTable(board)),
    titled("charts", "Charts", chartsOf(board)),
    titled("clips", "Clips", pictured && pictured < board.clip_list.length ? h("p", {class: "hint"}, text(`Pictures of ${grouped(pictured)} of ${counted(board.clip_list.length, "clip")} are in this page: more would make the file too large.`)) : null, clipsOf(board)),
  ];
}

/** Show what the state names. */
function render() {
  const keys = boardKeys();
  const board = keys.get(state.task);
  if (state.task && !board) { $("said").textContent = "The address names an unknown board."; state.task = ""; }
  const name = board ? state.task : "";
  if (viewed !== name) {
    viewed = name;
    drawnFigures.forEach((one) => { const plot = one.element.querySelector(".plot"); if (window.Plotly) window.Plotly.purge(plot); });
    drawnFigures = [];
    gallery = null;
    $("main").replaceChildren(...(board ? boardView(name, board) : overview(keys)).flat(9).filter(Boolean));
    $("board").value = name;
    const parts = board ? [["scores", "Scores"], ["charts", "Charts"], ["clips", "Clips"]] : [["boards", "Boards"], ["over", "Over boards"], ["models", "Models"], ["read", "Read"], ["words", "Help"]];
    $("sections").replaceChildren(...parts.filter(([id]) => $(id)).map(([id, title]) => h("button", {type: "button", onclick: () => { $(id).scrollIntoView(); }}, text(title))));
    document.title = board ? `${name} \u00b7 Micro-expression report` : "Micro-expression report";
  }
  if (gallery && state.clip) {
    const place = gallery.clips.findIndex((clip) => clip.id === state.clip);
    queueMicrotask(() => { if (place >= 0) openClip(place, false); });
  } else if ($("clip").open) $("clip").close();
}

function go(to) {
  Object.assign(state, DEFAULTS, to);
  writeAddress(true);
  render();
  scrollTo(0, 0);
  $("main").focus({preventScroll: true});
}

function setTheme(theme, keep) {
  document.documentElement.dataset.theme = theme;
  $("theme").textContent = theme === "dark" ? "Light" : "Dark";
  $("theme").setAttribute("aria-label", `Switch to ${theme === "dark" ? "light" : "dark"}`);
  try {
    if (keep) localStorage.setItem("mellm-theme", theme);
  } catch { /* no storage for local files: follow the system */ }
  redraw();
}

function startTheme() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  let kept = null;
  try {
    kept = localStorage.getItem("mellm-theme");
  } catch { /* as above */ }
  setTheme(kept === "dark" || kept === "light" ? kept : system.matches ? "dark" : "light");
  system.addEventListener("change", () => { if (!kept) setTheme(system.matches ? "dark" : "light"); });
  $("theme").addEventListener("click", () => { kept = document.documentElement.dataset.theme === "dark" ? "light" : "dark"; setTheme(kept, true); });
}

function startPage() {
  entries = new Map(report.entries.map((entry) => [entry.key, entry]));
  $("board").append(h("option", {value: ""}, text("Overview")), ...[...boardKeys().keys()].map((key) => h("option", {value: key}, text(shortened(key, 60)))));
  $("board").addEventListener("change", (event) => go({task: event.target.value}));
  $("home").addEventListener("click", () => go({}));
  $("skip").addEventListener("click", (event) => { event.preventDefault(); $("main").focus(); });
  $("clip").addEventListener("keydown", clipKeys);
  $("clip").addEventListener("close", () => { state.clip = ""; writeAddress(); if (gallery) gallery.focus(); });
  for (const dialog of [$("clip"), $("entry")]) dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  addEventListener("popstate", () => { const before = JSON.stringify(FILTERS.map((name) => state[name])); readAddress(); if (JSON.stringify(FILTERS.map((name) => state[name])) !== before) viewed = null; render(); });
  addEventListener("beforeprint", () => { printing = true; redraw(true); });
  addEventListener("afterprint", () => { printing = false; redraw(); });
  readAddress();
  render();
  document.documentElement.dataset.ready = "yes";
}

startTheme();
unpacked("report").then((written) => { report = JSON.parse(written); startPage(); }).catch((error) => {
  $("main").replaceChildren(h("p", {class: "bad"}, text(`The report in this page cannot be shown: ${error.message || error}. Run mellm report again.`)));
  throw error;
});

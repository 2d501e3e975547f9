// Tables: sorted by their headers, within groups; scores with their intervals.

/** Compare two numbers, texts or nulls; null comes last in both directions. */
function compared(a, b, direction) {
  if (!known(a) || !known(b)) return known(a) ? -1 : known(b) ? 1 : 0;
  const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", {numeric: true});
  return order * direction;
}

/** A name like emotion_uf1, which may break after an underscore. */
const breakable = (name) => h("bdi", {}, String(name).split(/(?<=_)/).flatMap((part, place) => (place ? [h("wbr"), text(part)] : [text(part)])));

/**
 * A table in a box. columns: {key, title, hint, number, first (1 or -1, the direction of the first click), value(row),
 * cell(row), under() for a second line, last(row) for rows that always stay below the others}. groups(key) gets the
 * sort column and returns {title, rows, cls}. onsort(key) is called after sorting.
 */
function sortable({caption, columns, groups, sort, onsort, cls}) {
  let by = columns.find((column) => column.key === sort) || null;
  let direction = by ? by.first || 1 : 1;
  const heads = new Map();
  const head = h("tr", {});
  for (const column of columns) {
    const under = column.under ? h("span", {class: "under"}) : null;
    const button = h("button", {type: "button", title: column.hint, onclick: () => choose(column)}, breakable(column.title), under, h("span", {class: "arrow", "aria-hidden": "true"}));
    const cell = h("th", {scope: "col", class: [column.number ? "num" : "", column.cls || ""].join(" ")}, button);
    heads.set(column.key, cell);
    head.append(cell);
  }
  const table = h("table", {class: cls}, h("caption", {class: "sr"}, text(caption)), h("thead", {}, head));

  function fill() {
    for (const [key, cell] of heads) {
      if (by && key === by.key) cell.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      else cell.setAttribute("aria-sort", "none");
    }
    for (const column of columns.filter((one) => one.under)) heads.get(column.key).querySelector(".under").replaceChildren(breakable(column.under()));
    table.querySelectorAll("tbody").forEach((body) => body.remove());
    for (const group of groups(by && by.key).filter(({rows}) => rows.length)) {
      const body = h("tbody", {class: group.cls});
      const rows = [...group.rows];
      const last = (row) => Number(Boolean(by.last && by.last(row)) || !known(by.value(row)));
      if (by) rows.sort((a, b) => last(a) - last(b) || compared(by.value(a), by.value(b), direction));
      const title = group.title ? [h("tr", {class: "group"}, h("th", {colspan: columns.length, scope: "colgroup"}, h("span", {}, text(group.title))))] : [];
      body.replaceChildren(...title, ...rows.map((row) => h("tr", {}, columns.map((column, place) =>
        h(place === 0 ? "th" : "td", {scope: place === 0 ? "row" : null, class: [column.number ? "num" : "", column.cls || "", by === column ? "sorted" : ""].join(" ")}, column.cell(row))))));
      table.append(body);
    }
  }

  function choose(column) {
    direction = by === column ? -direction : column.first || 1;
    by = column;
    if (onsort) onsort(column.key);
    fill();
    $("said").textContent = `Sorted by ${column.title}, ${direction > 0 ? "ascending" : "descending"}`;
  }

  fill();
  return h("div", {class: "box", tabindex: "0", role: "region", "aria-label": caption}, table);
}

/** The ends of a metric's axis: 0 to 1 for shares, else the range of the scores. */
function spanOf(metric, scores) {
  if (metric.kind === "share") return [0, 1];
  const ends = scores.filter(Boolean).flatMap((score) => [score.value, score.low, score.high]).filter(known);
  return ends.length ? [Math.min(0, ...ends), Math.max(...ends)] : [0, 1];
}

/** Why a row has no threshold, or one beyond the measured range; null for other metrics. */
const noteOf = (row, metric) => (metric === "threshold_px" && row && row.sensitivity && row.sensitivity.note) || null;

/** Value, interval, and both as a line; a note as a tooltip. Unranked scores are grey with a hollow mark. */
function scoreCell(score, metric, span, {tied = false, note = null, ranked = true} = {}) {
  if (!score || !known(score.value)) return h("span", {class: "none", title: note || "unknown"}, text(note ? "none" : DASH));
  const interval = known(score.low) && known(score.high);
  const line = h("span", {class: "whisker", "aria-hidden": "true"});
  const at = (value) => `${Math.max(0, Math.min(100, (100 * (value - span[0])) / (span[1] - span[0] || 1)))}%`;
  if (interval) {
    const range = h("i", {});
    range.style.left = at(score.low);
    range.style.right = `calc(100% - ${at(score.high)})`;
    line.append(range);
  }
  const dot = h("b", {});
  dot.style.left = at(score.value);
  line.append(dot);
  const rank = known(score.rank) ? `rank ${score.rank}${tied ? ", shared" : ""}${known(score.rank_low) && score.rank_low > score.rank ? `; its true place may be any to ${score.rank_low}` : ""}` : null;
  const why = [ranked ? rank : "not ranked", note].filter(Boolean).join("; ") || null;
  return h("span", {class: !ranked ? "score unranked" : score.rank === 1 ? "score best" : "score", title: why},
    h("span", {class: "value"}, text(valueOf(score, metric.kind))),
    h("span", {class: "ends"}, text(interval ? `${shown(score.low, metric.kind)} ${DASH} ${shown(score.high, metric.kind)}` : "no interval")),
    line);
}

const rowName = (row) => (row.entry && entries.get(row.entry) ? entries.get(row.entry).name : row.name) || "unnamed";

function marksOf(row) {
  const given = Array.isArray(row.marks) ? row.marks : []; // a row over boards has marks by board
  return given.map((mark) => {
    const [name, why] = MARKS[mark.kind] || [mark.kind, ""];
    return h("span", {class: `mark mark-${/^[a-z_]+$/.test(mark.kind) ? mark.kind : "other"}`, title: why}, h("b", {}, text(name)), mark.text ? [text(" "), foreign(mark.text)] : null);
  });
}

function nameCell(row) {
  const entry = entries.get(row.entry);
  const name = entry
    ? h("button", {type: "button", class: "link", onclick: () => openEntry(entry)}, foreign(entry.name))
    : foreign(rowName(row), "constant");
  const marks = marksOf(row);
  return h("div", {class: "name"}, name, marks.length ? h("span", {class: "marks"}, marks) : null);
}

/** Number of rows with each rank of a metric; rows that share a rank are statistically tied. */
function ranksOf(board, metric) {
  const found = new Map();
  for (const row of board.rows) {
    const score = (row.scores || {})[metric];
    if (row.ranked && score && known(score.rank)) found.set(score.rank, (found.get(score.rank) || 0) + 1);
  }
  return found;
}

const RATES = ["answer_rate", "parse_rate", "au_parse_rate", "judge_rate"];

/** The metrics of the first view: the ranked metrics and the rates, or the first few. */
function mainMetrics(board) {
  const given = (metric) => board.rows.some((row) => known(((row.scores || {})[metric.name] || {}).value));
  const main = board.metrics.filter((metric) => metric.main || (RATES.includes(metric.name) && given(metric)));
  return board.metrics.some((metric) => metric.main) ? main : board.metrics.slice(0, 6);
}

function boardTable(board) {
  const holder = h("div", {});
  let all = false;
  let by = board.metrics.some((metric) => metric.name === state.metric) ? state.metric : (board.metrics[0] || {}).name;

  function draw() {
    const metrics = all ? board.metrics : board.metrics.filter((metric) => mainMetrics(board).includes(metric) || metric.name === by);
    const ranks = new Map(board.metrics.map((metric) => [metric.name, ranksOf(board, metric.name)]));
    const rankOf = (row) => (row.ranked && ((row.scores || {})[by] || {}).rank) || null;
    const columns = [
      {key: "name", title: "Model", value: rowName, cell: nameCell, cls: "sticky"},
      {
        key: "rank", title: "Rank", number: true, cls: "rank", under: () => (by ? `in ${by}` : ""), hint: "Rank in the metric below, by which the table was last sorted. Statistically tied models share a rank.",
        value: rankOf,
        cell: (row) => {
          const rank = rankOf(row);
          if (!known(rank)) return h("span", {class: "none"}, text(DASH));
          const shared = ranks.get(by) && ranks.get(by).get(rank) > 1;
          return h("span", {class: rank === 1 ? "place first" : "place", title: shared ? "shared: statistically tied" : null}, text(`${rank}${shared ? "=" : ""}`));
        },
      },
      ...metrics.map((metric) => {
        const span = spanOf(metric, board.rows.map((row) => (row.scores || {})[metric.name]));
        return {
          key: metric.name, title: metric.name, number: true, first: metric.higher_is_better ? -1 : 1,
          hint: [METRICS[metric.name], metric.higher_is_better ? "higher is better" : "lower is better"].filter(Boolean).join("; "),
          value: (row) => ((row.scores || {})[metric.name] || {}).value,
          cell: (row) => {
            const score = (row.scores || {})[metric.name];
            return scoreCell(score, metric, span, {tied: score && ranks.get(metric.name).get(score.rank) > 1, note: noteOf(row, metric.name), ranked: row.ranked || row.kind === "constant"});
          },
        };
      }),
      {key: "clips", title: "Clips", number: true, first: -1, value: (row) => row.clips, cell: (row) => text(known(row.clips) ? grouped(row.clips) : DASH)},
      ...(board.rows.some((row) => row.runs > 1) ? [{key: "runs", title: "Runs", number: true, first: -1, value: (row) => row.runs, cell: (row) => text(known(row.runs) && row.kind === "model" ? grouped(row.runs) : DASH)}] : []),
    ];
    const models = board.rows.filter((row) => row.kind !== "constant");
    const unranked = models.filter((row) => !row.ranked);
    const valued = (row) => metrics.some((metric) => known(((row.scores || {})[metric.name] || {}).value));
    const blind = (row) => row.ranked && !known(((row.scores || {}).threshold_px || {}).value) && noteOf(row, "threshold_px");
    const table = sortable({
      caption: `Scores of ${board.task}`, columns, sort: by, cls: "scores",
      groups: (key) => {
        const none = key === "threshold_px" ? models.filter(blind) : [];
        return [
          {title: unranked.length || none.length ? "Ranked" : "", rows: models.filter((row) => row.ranked && !none.includes(row))},
          {title: "No threshold", rows: none},
          {title: "Shown, not ranked", rows: unranked, cls: "unranked"},
          {title: "Constant answers", rows: board.rows.filter((row) => row.kind === "constant" && valued(row)), cls: "constants"},
        ];
      },
      onsort: (key) => {
        if (!board.metrics.some((metric) => metric.name === key)) return;
        by = key;
        state.metric = key;
        writeAddress();
      },
    });
    const more = board.metrics.length > mainMetrics(board).length
      ? h("button", {type: "button", class: "quiet", "aria-pressed": String(all), onclick: () => { all = !all; draw(); holder.querySelector(".tools button").focus(); }},
        text(all ? "Main metrics" : `All ${board.metrics.length} metrics`))
      : null;
    holder.replaceChildren(
      h("div", {class: "tools"},
        h("p", {class: "hint"}, text("Value, 95 % interval over subjects, and both on the axis of the metric. Click a header to sort. A shared rank (=) means: statistically tied.")), more),
      board.rows.length ? table : h("p", {class: "note"}, text("No model has scores on this board.")));
  }

  draw();
  return holder;
}

function publishedTable(board) {
  const published = board.published || [];
  if (!published.length) return null;
  const names = [...new Set(published.flatMap((row) => Object.keys(row.scores || {})))];
  const metric = (name) => board.metrics.find((found) => found.name === name) || {name, kind: "share", higher_is_better: true};
  return h("section", {class: "published"}, h("h3", {}, text("Published numbers")),
    h("p", {class: "hint"}, text("From the sources named, not run here, and often with another protocol. For orientation, not for ranking.")),
    sortable({
      caption: `Published numbers for ${board.task}`, sort: names[0],
      columns: [
        {key: "name", title: "System", value: (row) => row.name, cell: (row) => foreign(row.name), cls: "sticky"},
        ...names.map((name) => ({
          key: name, title: name, number: true, first: metric(name).higher_is_better ? -1 : 1, hint: METRICS[name],
          value: (row) => (row.scores || {})[name], cell: (row) => text(shown((row.scores || {})[name], metric(name).kind)),
        })),
        {key: "protocol", title: "Protocol", value: (row) => row.protocol, cell: (row) => foreign(row.protocol || DASH, "prose")},
        {key: "source", title: "Source", value: (row) => row.source, cell: (row) => foreign(row.source || DASH, "prose")},
      ],
      groups: () => [{rows: published}],
    }));
}

const entryName = (key) => (entries.get(key) || {name: key}).name;

function comparisonTable(board) {
  const pairs = board.comparisons || [];
  if (!pairs.length) return null;
  const names = [...new Set(pairs.map((pair) => pair.metric))];
  const holder = h("div", {});
  const draw = (name) => {
    const kind = (board.metrics.find((metric) => metric.name === name) || {kind: "share"}).kind;
    const apart = (pair) => known(pair.p_holm) && pair.p_holm < 0.05;
    holder.replaceChildren(sortable({
      caption: `Pairs of models, ${name}`, sort: "p_holm",
      columns: [
        {key: "first", title: "Model", value: (pair) => entryName(pair.first), cell: (pair) => foreign(entryName(pair.first)), cls: "sticky"},
        {key: "second", title: "against", value: (pair) => entryName(pair.second), cell: (pair) => foreign(entryName(pair.second))},
        {key: "difference", title: "Difference", number: true, first: -1, value: (pair) => pair.difference, cell: (pair) => text(shown(pair.difference, kind))},
        {key: "low", title: "95 % interval", number: true, value: (pair) => pair.low, cell: (pair) => text(known(pair.low) ? `${shown(pair.low, kind)} to ${shown(pair.high, kind)}` : DASH)},
        {key: "p", title: "p", number: true, value: (pair) => pair.p, cell: (pair) => text(shownP(pair.p))},
        {key: "p_holm", title: "p, corrected", number: true, hint: "Holm, over the pairs of this board and metric", value: (pair) => pair.p_holm, cell: (pair) => h("span", {class: apart(pair) ? "apart" : ""}, text(shownP(pair.p_holm)))},
      ],
      groups: () => [{rows: pairs.filter((pair) => pair.metric === name)}],
    }));
  };
  draw(names[0]);
  return h("details", {class: "more"}, h("summary", {}, text(`Pairs of models (${names.length === 1 ? names[0] : `${names.length} metrics`})`)),
    h("div", {class: "tools"}, h("p", {class: "hint"}, text("Paired over subjects, on the clips that both answered. Corrected p below .05 is bold.")),
      names.length > 1 ? choice("Metric", names.map((name) => [name, name]), names[0], draw) : null),
    holder);
}

/** A labelled select; options: [value, text]. */
function choice(label, options, value, onchange) {
  const select = h("select", {onchange: (event) => onchange(event.target.value)}, options.map(([key, name]) => h("option", {value: key}, text(name))));
  select.value = value;
  return h("label", {class: "choice"}, h("span", {}, text(label)), select);
}

function overallTable() {
  const over = report.overall || {};
  if (!(over.rows || []).length || !(over.metrics || []).length || !(over.tasks || []).length) {
    return h("p", {class: "note"}, text("There is no table over boards, because no model has scores on a board."));
  }
  const holder = h("div", {});
  const draw = (name) => {
    const metric = report.boards.flatMap((board) => board.metrics).find((found) => found.name === name) || {name, kind: "share", higher_is_better: true};
    const first = metric.higher_is_better ? -1 : 1;
    const scoreOf = (row, task) => ((row.scores || {})[task] || {})[name];
    const isRanked = (score) => !score || score.ranked !== false;
    const rowOn = (row, task) => ((report.boards.find((board) => titleOf(board) === task) || {}).rows || []).find((found) => found.entry === row.entry);
    const mean = (row) => (row.mean || {})[name] || {};
    const tasks = over.tasks.filter((task) => over.rows.some((row) => known((scoreOf(row, task) || {}).value)));
    const averaged = (over.averaged || {})[name] || tasks;
    const rows = over.rows.filter((row) => tasks.some((task) => known((scoreOf(row, task) || {}).value)));
    const span = spanOf(metric, rows.flatMap((row) => tasks.map((task) => scoreOf(row, task))));
    holder.replaceChildren(sortable({
      caption: `${name} over boards`, sort: "mean", cls: "scores",
      columns: [
        {key: "name", title: "Model", value: (row) => entryName(row.entry), cell: nameCell, cls: "sticky"},
        {
          key: "mean", title: "Mean", number: true, first, hint: `Unweighted mean over the boards ${averaged.join(", ")}, as far as the model is ranked there`, value: (row) => mean(row).value,
          cell: (row) => h("span", {class: "score"}, h("span", {class: "value"}, text(shown(mean(row).value, metric.kind))), h("span", {class: "ends"}, text(known(mean(row).tasks) ? `${mean(row).tasks} of ${counted(averaged.length, "board")}` : ""))),
        },
        ...tasks.map((task) => ({
          key: `task ${task}`, title: task, number: true, first, value: (row) => (scoreOf(row, task) || {}).value, last: (row) => !isRanked(scoreOf(row, task)),
          cell: (row) => {
            const marks = marksOf({marks: (row.marks || {})[task]});
            return h("div", {class: "over"}, scoreCell(scoreOf(row, task), metric, span, {note: noteOf(rowOn(row, task), name), ranked: isRanked(scoreOf(row, task))}), marks.length ? h("div", {class: "marks"}, marks) : null);
          },
        })),
      ],
      groups: () => [{rows}],
    }));
  };
  draw(over.metrics[0]);
  return h("div", {}, h("div", {class: "tools"},
    h("p", {class: "hint"}, text("Compare means over the same boards only. Grey with a hollow mark: not ranked on that board, not in the mean, and always below the ranked models.")),
    choice("Metric", over.metrics.map((name) => [name, name]), over.metrics[0], draw)), holder);
}

const motionName = (entry) => (entry.motion === "off" ? "off" : entry.motion_name || (entry.motion ? "own settings" : null));

/** The facts about an entry; unknown ones are not listed. */
function entryFacts(entry) {
  const versions = Object.entries(entry.versions || {}).filter(([, version]) => known(version)).map(([name, version]) => `${name} ${version}`).join(", ");
  const facts = [
    ["Model", entry.model], ["Arguments", entry.model_args], ["Adapter, SHA-256", entry.adapter_sha256], ["Motion maps", motionName(entry)],
    ["Motion settings", entry.motion && entry.motion !== "off" ? JSON.stringify(entry.motion) : null], ["Judge", entry.judge], ["Versions", versions || null],
    ["Generation", known(entry.generation) ? JSON.stringify(entry.generation) : null], ["Rubric", entry.rubric], ["Date", entry.date], ["System instruction, SHA-256", entry.system_instruction_sha],
  ].filter(([, value]) => known(value) && value !== "");
  return h("dl", {class: "facts"}, facts.map(([name, value]) => [h("dt", {}, text(name)), h("dd", {}, foreign(value))]),
    (entry.files || []).length ? [h("dt", {}, text("Files")), entry.files.map((file) => h("dd", {}, foreign(file)))] : null);
}

function openEntry(entry) {
  const dialog = $("entry");
  dialog.replaceChildren(
    h("header", {class: "dialog-head"}, h("h2", {id: "entry-title"}, foreign(entry.name)), h("button", {type: "button", class: "quiet", onclick: () => dialog.close()}, text("Close"))),
    h("div", {class: "dialog-body"}, entryFacts(entry)));
  dialog.showModal();
}

function entriesTable() {
  const versionOf = (entry, name) => (entry.versions || {})[name];
  const column = (key, title, value) => ({key, title, value, cell: (entry) => foreign(known(value(entry)) ? value(entry) : DASH)});
  return sortable({
    caption: "Models read", sort: "name",
    columns: [
      {key: "name", title: "Model", value: (entry) => entry.name, cell: (entry) => nameCell({entry: entry.key}), cls: "sticky"},
      column("motion", "Motion maps", motionName), column("judge", "Judge", (entry) => entry.judge),
      column("adapter", "Adapter", (entry) => (entry.adapter_sha256 ? String(entry.adapter_sha256).slice(0, 10) : null)),
      column("lmms_eval", "lmms-eval", (entry) => versionOf(entry, "lmms_eval")), column("mellm_plugin", "mellm-plugin", (entry) => versionOf(entry, "mellm_plugin")),
      column("prompts", "Prompts", (entry) => versionOf(entry, "prompts")), column("date", "Date", (entry) => entry.date),
    ],
    groups: () => [{rows: report.entries}],
  });
}

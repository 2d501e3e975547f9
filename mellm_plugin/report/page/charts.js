// Charts, drawn by Plotly when they come into view. Plotly interprets markup in texts, so `plain` escapes it.

/** Text that Plotly shows as it is: escaped, because Plotly knows <b>, <br>, <a>, entities, and $..$ with MathJax. */
const plain = (value, most = 34) =>
  shortened(value, most).replace(/[\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]/g, " ").replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/\$/g, "&#36;");

// The colour-blind safe palette of Okabe and Ito, adjusted for contrast on each background.
const LINES = {
  light: ["#0072b2", "#c44e00", "#00795a", "#a8467f", "#1b1f23", "#9a6a00", "#2a8fce", "#7a5195"],
  dark: ["#56b4e9", "#f08c4a", "#2fc299", "#e0a0c8", "#e8eaed", "#e6b422", "#8fd0f5", "#b9a2e0"],
};
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon"];
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
const SEQUENTIAL = {
  light: [[0, "#f4f6f8"], [0.25, "#c6dbea"], [0.5, "#7fb2d3"], [0.75, "#2f7fb0"], [1, "#0b4a75"]],
  dark: [[0, "#1b2026"], [0.25, "#1f3f57"], [0.5, "#2a6a93"], [0.75, "#55a3d0"], [1, "#c4e4f7"]],
};

/** A colour of a scale, as [red, green, blue], at a share 0..1. */
function scaled(scale, share) {
  const after = Math.max(1, scale.findIndex(([at]) => at >= share));
  const [[low, from], [high, to]] = [scale[after - 1], scale[after]];
  const part = (share - low) / (high - low);
  return [1, 3, 5].map((at) => parseInt(from.slice(at, at + 2), 16) * (1 - part) + parseInt(to.slice(at, at + 2), 16) * part);
}

/** WCAG's relative luminance of [red, green, blue]. */
const luminance = (colour) => colour.map((value) => value / 255).map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)).reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);

/** The texts of heatmap cells, dark or light for the best contrast. */
function cellTexts(shares, texts, size = 12) {
  const cells = texts.flatMap((row, y) => row.map((label, x) => ({x, y, label, share: shares[y][x]}))).filter((cell) => cell.label && known(cell.share));
  const on = (cell) => luminance(scaled(SEQUENTIAL[themeNow()], cell.share));
  return {
    type: "scatter", mode: "text", x: cells.map((cell) => cell.x), y: cells.map((cell) => cell.y), text: cells.map((cell) => cell.label), hoverinfo: "skip", cliponaxis: false,
    textfont: {size, color: cells.map((cell) => (1.05 / (on(cell) + 0.05) > (on(cell) + 0.05) / 0.055 ? "#ffffff" : "#0d1217"))},
  };
}

let plotly = null;
let drawnFigures = [];
let printing = false;

/** Plotly, unpacked and run at first use; the page's policy names its hash. */
function loadPlotly() {
  plotly = plotly || unpacked("plotly").then((source) => {
    document.head.append(h("script", {}, text(source)));
    $("plotly").textContent = "";
    if (!window.Plotly) throw new Error("the charts' library did not start");
    return window.Plotly;
  });
  return plotly;
}

const shade = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const themeNow = () => (printing ? "light" : document.documentElement.dataset.theme);

function layoutOf(layout) {
  const light = themeNow() === "light";
  const ink = printing ? "#1b1f23" : shade("--ink");
  const faint = printing ? "#dddddd" : shade("--rule");
  const axis = {gridcolor: faint, linecolor: faint, zeroline: false, automargin: true, fixedrange: true, tickfont: {size: 12}, ticks: ""};
  const merged = {
    font: {family: shade("--sans"), size: 13, color: ink}, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: {l: 8, r: 16, t: 8, b: 8},
    showlegend: false, hoverlabel: {bgcolor: light ? "#ffffff" : "#262b31", bordercolor: faint, font: {family: shade("--sans"), size: 12, color: ink}, align: "left"}, dragmode: false,
    legend: {orientation: "h", y: -0.22, yanchor: "top", x: 0, font: {size: 12}, itemwidth: 36},
    ...layout,
  };
  for (const name of ["xaxis", "yaxis"]) merged[name] = {...axis, ...(layout[name] || {})};
  return merged;
}

/** A chart with its heading. make() returns {data, layout, height, least: least width, below: a key}, or a sentence on what is missing. */
function figure({title, note, tools, make, wide}) {
  const place = h("div", {class: "plot"});
  const below = h("div", {class: "below"});
  const element = h("figure", {class: wide ? "chart wide" : "chart"}, h("figcaption", {}, h("h3", {}, text(title)), note ? h("p", {class: "hint"}, text(note)) : null), tools ? h("div", {class: "tools"}, tools) : null, h("div", {class: "slide"}, place), below);
  const self = {element, drawn: false};
  self.draw = async () => {
    const made = make();
    below.replaceChildren(...(made.below ? [made.below] : []));
    place.style.minWidth = made.least && !printing ? `${made.least}px` : "";
    if (typeof made === "string") {
      if (window.Plotly) window.Plotly.purge(place);
      place.replaceChildren(h("p", {class: "note"}, text(made)));
      place.style.minHeight = "";
      self.drawn = true;
      return;
    }
    place.style.minHeight = `${made.height}px`;
    const library = window.Plotly || (await loadPlotly());
    if (!self.drawn || place.querySelector(".note")) place.replaceChildren();
    const layout = layoutOf({height: made.height, ...made.layout});
    if (printing) layout.width = 660;
    await library.react(place, made.data, layout, {
      displaylogo: false, responsive: true, modeBarButtons: [["toImage"]], toImageButtonOptions: {filename: title.toLowerCase().replace(/[^a-z0-9]+/g, "-"), scale: 2},
    });
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", `${title}. ${made.said || "The numbers are in the table of scores."}`);
    self.drawn = true;
  };
  drawnFigures.push(self);
  return self;
}

const watcher = new IntersectionObserver((seen) => {
  for (const {isIntersecting, target} of seen) {
    if (!isIntersecting) continue;
    watcher.unobserve(target);
    const found = drawnFigures.find((one) => one.element === target);
    if (found) found.draw();
  }
}, {rootMargin: "300px"});

const redraw = (all = false) => drawnFigures.filter((one) => all || one.drawn).map((one) => one.draw());

const modelRows = (board) => board.rows.filter((row) => row.kind !== "constant");
const lineOf = (place) => {
  const colours = LINES[themeNow()];
  const turn = Math.floor(place / colours.length);
  return {colour: colours[place % colours.length], symbol: SYMBOLS[(place + turn) % SYMBOLS.length], dash: DASHES[turn % DASHES.length]};
};
const nameAxis = (names, most = 30) => ({tickvals: names.map((_, place) => place), ticktext: names.map((name) => plain(name, most)), range: [names.length - 0.4, -0.6], showgrid: false});
const rowHeight = (count, least = 150) => Math.max(least, 70 + 27 * count);
const leftAxis = () => (innerWidth < 560 ? 18 : 30);

function scoresChart(board) {
  let name = state.metric && board.metrics.some((metric) => metric.name === state.metric) ? state.metric : (board.metrics[0] || {}).name;
  const self = figure({
    title: "Scores", note: "Dots with their 95 % intervals. Hollow: not ranked. Diamonds: constant answers and published numbers.", wide: true,
    tools: board.metrics.length > 1 ? choice("Metric", board.metrics.map((metric) => [metric.name, metric.name]), name, (chosen) => { name = chosen; self.draw(); }) : null,
    make: () => {
      const metric = board.metrics.find((found) => found.name === name);
      const rows = metric ? board.rows.filter((row) => known(((row.scores || {})[name] || {}).value)) : [];
      if (!rows.length) return "No model has a value of this metric.";
      const sign = metric.higher_is_better ? -1 : 1;
      const points = [
        ...rows.map((row) => ({name: rowName(row), score: row.scores[name], note: noteOf(row, name), kind: row.kind === "constant" ? "constant" : row.ranked ? "ranked" : "unranked"})),
        ...(board.published || []).filter((row) => known((row.scores || {})[name])).map((row) => ({name: `${row.name} (published)`, score: {value: row.scores[name]}, kind: "published"})),
      ].sort((a, b) => sign * (a.score.value - b.score.value));
      const colour = shade("--accent");
      const quiet = shade("--muted");
      const dot = {ranked: ["circle", colour], unranked: ["circle-open", colour], constant: ["diamond-open", quiet], published: ["diamond", quiet]};
      const values = points.map((point) => point.score.value);
      const kind = metric.kind === "share" ? [Math.min(0, ...values), 1.02] : null;
      return {
        height: rowHeight(points.length),
        data: [{
          type: "scatter", mode: "markers", x: values, y: points.map((_, place) => place),
          error_x: {
            type: "data", symmetric: false, color: quiet, thickness: 1.5, width: 0,
            array: points.map(({score}) => (known(score.high) ? score.high - score.value : 0)), arrayminus: points.map(({score}) => (known(score.low) ? score.value - score.low : 0)),
          },
          marker: {size: 10, symbol: points.map((point) => dot[point.kind][0]), color: points.map((point) => dot[point.kind][1]), line: {width: 1.8}},
          text: points.map(({name: called, score, note}) => `${plain(called, 60)}<br>${valueOf(score, metric.kind)}${known(score.low) && known(score.high) ? ` (${shown(score.low, metric.kind)} to ${shown(score.high, metric.kind)})` : ""}${note ? `<br>${plain(note, 120)}` : ""}`),
          hovertemplate: "%{text}<extra></extra>",
        }],
        layout: {xaxis: {range: kind, side: "top", title: {text: ""}, rangemode: "tozero"}, yaxis: nameAxis(points.map((point) => point.name), leftAxis())},
      };
    },
  });
  return self;
}

const MOST_NAMES = 20;

function confusionChart(board) {
  const rows = modelRows(board).filter((row) => row.confusion && (row.confusion.emotion || row.confusion.coarse));
  const crowded = rows.some((found) => ["emotion", "coarse"].some((of) => found.confusion[of] && found.confusion[of].read.length > MOST_NAMES));
  let row = rows[0];
  let level = row && row.confusion.emotion ? "emotion" : "coarse";
  const draw = () => self.draw();
  const self = figure({
    title: "Confusion", note: "Rows: coded label. Columns: what was read. Shade: share of the row; numbers: clips.", wide: crowded,
    tools: rows.length
      ? [choice("Model", rows.map((found, place) => [String(place), shortened(rowName(found), 40)]), "0", (chosen) => { row = rows[Number(chosen)]; draw(); }),
        choice("Labels", [["emotion", "expression"], ["coarse", "coarse"]], level, (chosen) => { level = chosen; draw(); })]
      : null,
    make: () => {
      if (!rows.length) return board.labels ? "There are no answers to single clips, so there is no confusion matrix." : "This task asks for no expression, so there is no confusion matrix.";
      const matrix = row.confusion[level];
      if (!matrix || !matrix.labels.length) return `${level === "coarse" ? "Coarse labels" : "Labels"} of this model\u2019s answers are unknown.`;
      const sums = matrix.counts.map((counts) => counts.reduce((a, b) => a + b, 0));
      const shares = matrix.counts.map((counts, place) => counts.map((count) => (sums[place] ? count / sums[place] : null)));
      // Slanted names of many columns would overlap: numbers replace them, also in the names of the rows.
      const many = Math.max(matrix.labels.length, matrix.read.length) > MOST_NAMES;
      const names = [...new Set([...matrix.labels, ...matrix.read])];
      const numbers = new Map(names.map((label, place) => [label, place + 1]));
      return {
        height: 120 + (many ? 26 : 34) * matrix.labels.length, least: many ? 160 + 22 * matrix.read.length : null,
        below: many ? h("ol", {class: "numbers", "aria-label": "Meaning of the numbers"}, names.map((label) => h("li", {}, foreign(label)))) : null,
        data: [{
          type: "heatmap", z: shares, colorscale: SEQUENTIAL[themeNow()], zmin: 0, zmax: 1, showscale: false, xgap: 2, ygap: 2,
          hoverongaps: false,
          customdata: matrix.counts.map((counts, gold) => counts.map((count, read) => `${plain(matrix.labels[gold])} read as ${plain(matrix.read[read])}: ${grouped(count)} of ${grouped(sums[gold])}`)),
          hovertemplate: "%{customdata}<extra></extra>",
        }, cellTexts(shares, matrix.counts.map((counts) => counts.map((count) => (count ? grouped(count) : ""))), many ? 10 : 12)],
        layout: {
          xaxis: {tickvals: matrix.read.map((_, place) => place), ticktext: matrix.read.map((label) => (many ? String(numbers.get(label)) : plain(label, 14))), range: [-0.5, matrix.read.length - 0.5], side: "top", showgrid: false, tickangle: !many && matrix.read.length > 5 ? -40 : 0},
          yaxis: {tickvals: matrix.labels.map((_, place) => place), ticktext: matrix.labels.map((label, place) => `${many ? `${numbers.get(label)} ` : ""}${plain(label, 14)}  ${grouped(sums[place])}`), range: [matrix.labels.length - 0.5, -0.5], showgrid: false},
        },
      };
    },
  });
  return self;
}

function unitsChart(board) {
  const rows = modelRows(board).filter((row) => row.units && Object.keys(row.units).length);
  return figure({
    title: "F1 of each action unit", note: "F1 of every unit and model. Blank: in no clip, and never named.", wide: rows.length > 8,
    make: () => {
      if (!rows.length) return "There are no answers on action units.";
      const units = [...new Set(rows.flatMap((row) => Object.keys(row.units)))].sort((a, b) => Number(a) - Number(b));
      const shares = rows.map((row) => units.map((unit) => (known((row.units[unit] || {}).f1) ? row.units[unit].f1 : null)));
      const room = innerWidth > 560 || units.length < 9;
      return {
        height: 110 + Math.max(24, Math.min(34, 300 / rows.length)) * rows.length,
        data: [{
          type: "heatmap", z: shares, colorscale: SEQUENTIAL[themeNow()], zmin: 0, zmax: 1, showscale: false, xgap: 2, ygap: 2, hoverongaps: false,
          customdata: rows.map((row) => units.map((unit) => {
            const found = row.units[unit] || {};
            return `${plain(rowName(row), 50)}<br>AU${plain(unit)} ${report.unit_names[unit] || ""}<br>F1 ${shown(found.f1)}, precision ${shown(found.precision)}, recall ${shown(found.recall)}<br>in ${known(found.present) ? grouped(found.present) : DASH} clips, named in ${known(found.named) ? grouped(found.named) : DASH}`;
          })),
          hovertemplate: "%{customdata}<extra></extra>",
        }, ...(room ? [cellTexts(shares, shares.map((row) => row.map((share) => (known(share) ? share.toFixed(2).replace(/^0/, "") : ""))), 11)] : [])],
        layout: {xaxis: {tickvals: units.map((_, place) => place), ticktext: units.map((unit) => plain(unit)), tickangle: 0, tickfont: {size: room ? 12 : 10}, range: [-0.5, units.length - 0.5], side: "top", showgrid: false, title: {text: "action unit", font: {size: 12}}}, yaxis: {...nameAxis(rows.map(rowName), leftAxis()), range: [rows.length - 0.5, -0.5]}},
      };
    },
  });
}

/** The models in the line charts: a few, chosen by the reader, each with a colour, a mark and a dash. */
function chooser(rows, onchange) {
  const chosen = new Set(rows.slice(0, 6));
  const places = new Map(rows.map((row, place) => [row, place]));
  const element = rows.length > 1
    ? h("details", {class: "more models"}, h("summary", {}, text("Models in the line charts")),
      h("div", {class: "checks"}, rows.map((row) => h("label", {}, h("input", {
        type: "checkbox", checked: chosen.has(row), onchange: (event) => { if (event.target.checked) chosen.add(row); else chosen.delete(row); onchange(); },
      }), foreign(rowName(row))))))
    : null;
  return {element, rows: () => rows.filter((row) => chosen.has(row)), line: (row) => lineOf(places.get(row))};
}

function strengthChart(board, picked) {
  const rows = modelRows(board).filter((row) => (row.by_strength || []).length);
  const measures = [["label_acc", "expression, share right"], ["unit_recall", "units, recall"]].filter(([key]) => rows.some((row) => row.by_strength.some((bin) => known(bin[key]))));
  let measure = (measures[0] || [])[0];
  const self = figure({
    title: "By strength of motion", note: "Do errors come from clips with little motion? Motion of the face in px of a frame of 224 px.",
    tools: measures.length > 1 ? choice("Measure", measures, measure, (chosen) => { measure = chosen; self.draw(); }) : null,
    make: () => {
      if (!measures.length) return "The motion of these clips is unknown: the results are from an early version, or the task does not measure it.";
      const lines = picked.rows().filter((row) => rows.includes(row));
      if (!lines.length) return "None of the chosen models has answers by strength of motion.";
      const ticks = [...new Set(lines.flatMap((row) => row.by_strength.flatMap((bin) => [bin.low_px, bin.high_px])))].filter((px) => px > 0).sort((a, b) => a - b);
      return {
        height: 330 + 20 * Math.ceil(lines.length / 2),
        data: lines.map((row) => {
          const line = picked.line(row);
          const bins = row.by_strength.filter((bin) => known(bin[measure]));
          return {
            type: "scatter", mode: "lines+markers", name: plain(rowName(row), 30), x: bins.map((bin) => Math.sqrt(Math.max(bin.low_px, bin.high_px / 4, 1e-3) * bin.high_px)), y: bins.map((bin) => bin[measure]),
            line: {color: line.colour, width: 2, dash: line.dash}, marker: {symbol: line.symbol, size: 8, color: line.colour},
            text: bins.map((bin) => `${plain(rowName(row), 50)}<br>${shown(bin.low_px, "px")} to ${shown(bin.high_px, "px")} px: ${shown(bin[measure])}<br>${grouped(bin.clips)} clips`), hovertemplate: "%{text}<extra></extra>",
          };
        }),
        layout: {showlegend: true, xaxis: {type: "log", title: {text: "motion, px", font: {size: 12}}, tickvals: ticks, ticktext: ticks.map((px) => shown(px, "px").replace(/0$/, "")), minor: {showgrid: false}}, yaxis: {range: [-0.02, 1.03], title: {text: measures.find(([key]) => key === measure)[1], font: {size: 12}}}},
      };
    },
  });
  return self;
}

function reliabilityChart(board, picked) {
  const rows = modelRows(board).filter((row) => row.reliability);
  if (!rows.length) return null;
  return figure({
    title: "Calibration", note: "Is a model right as often as it says? Confidence: probability of the label given. On the dotted line it is; below, it is too sure.",
    make: () => {
      const lines = picked.rows().filter((row) => rows.includes(row));
      if (!lines.length) return "None of the chosen models gives probabilities of labels.";
      return {
        height: 360 + 20 * Math.ceil(lines.length / 2),
        data: [{type: "scatter", mode: "lines", x: [0, 1], y: [0, 1], line: {color: shade("--muted"), width: 1, dash: "dot"}, hoverinfo: "skip", showlegend: false}, ...lines.map((row) => {
          const line = picked.line(row);
          const {bins, ece, clips} = row.reliability;
          return {
            type: "scatter", mode: "lines+markers", name: `${plain(rowName(row), 24)}, ECE ${shown(ece)}`, x: bins.map((bin) => bin.confidence), y: bins.map((bin) => bin.right),
            line: {color: line.colour, width: 2, dash: line.dash}, marker: {symbol: line.symbol, color: line.colour, size: bins.map((bin) => 5 + 13 * Math.sqrt(bin.clips / clips))},
            text: bins.map((bin) => `${plain(rowName(row), 50)}<br>confidence ${shown(bin.low)} to ${shown(bin.high)}, mean ${shown(bin.confidence)}<br>right: ${shown(bin.right)} of ${counted(bin.clips, "clip")}`), hovertemplate: "%{text}<extra></extra>",
          };
        })],
        layout: {showlegend: true, xaxis: {range: [-0.02, 1.03], title: {text: "confidence", font: {size: 12}}}, yaxis: {range: [-0.02, 1.03], title: {text: "share right", font: {size: 12}}}},
      };
    },
  });
}

function ratesChart(board) {
  const kinds = [["answer_rate", "answered", "diamond-open"], ["parse_rate", "label read", "circle"], ["au_parse_rate", "units read", "square-open"], ["judge_rate", "judged", "x-thin-open"]];
  const rows = modelRows(board).filter((row) => row.rates && kinds.some(([key]) => known(row.rates[key])));
  return figure({
    title: "Answers read and judged", note: "Unread answers count as wrong in every score; answers that were never given do not count.",
    make: () => {
      if (!rows.length) return "No rates are known.";
      const colours = LINES[themeNow()];
      return {
        height: rowHeight(rows.length, 190) + 40,
        data: kinds.map(([key, name, symbol], place) => {
          const have = rows.map((row, at) => [row, at]).filter(([row]) => known(row.rates[key]));
          return {
            type: "scatter", mode: "markers", name, x: have.map(([row]) => row.rates[key]), y: have.map(([, at]) => at + 0.2 * (place - 1)), marker: {symbol, size: 9, color: colours[place], line: {width: 2, color: colours[place]}},
            text: have.map(([row]) => `${plain(rowName(row), 50)}<br>${name}: ${percent(row.rates[key])}`), hovertemplate: "%{text}<extra></extra>",
          };
        }).filter((trace) => trace.x.length),
        layout: {showlegend: true, legend: {orientation: "h", y: -0.04, yanchor: "top", x: 0}, xaxis: {range: [Math.min(0.88, ...rows.flatMap((row) => kinds.map(([key]) => row.rates[key])).filter(known)) - 0.02, 1.01], tickformat: ".0%", side: "top"}, yaxis: nameAxis(rows.map(rowName), leftAxis())},
      };
    },
  });
}

function costChart(board) {
  const measures = [["seconds", "seconds per clip"], ["output_tokens", "output tokens per clip"], ["input_tokens", "input tokens per clip"]].filter(([key]) => modelRows(board).some((row) => row.cost && known(row.cost[key]) && row.clips));
  let measure = (measures[0] || [])[0];
  const self = figure({
    title: "Cost", note: "From the results files. Seconds depend on the machine and the batch size.",
    tools: measures.length > 1 ? choice("Measure", measures, measure, (chosen) => { measure = chosen; self.draw(); }) : null,
    make: () => {
      if (!measures.length) return "Neither tokens nor seconds of these runs are known.";
      const rows = modelRows(board);
      const each = rows.map((row) => (row.cost && known(row.cost[measure]) && row.clips ? row.cost[measure] / row.clips : null));
      const written = (value) => (!known(value) ? "unknown" : value >= 100 ? grouped(value) : value >= 10 ? value.toFixed(1) : value.toFixed(2));
      return {
        height: rowHeight(rows.length, 170),
        data: [{
          type: "bar", orientation: "h", x: each.map((value) => value || 0), y: rows.map((_, place) => place), marker: {color: shade("--accent")}, width: 0.55, text: each.map(written), textposition: "outside", cliponaxis: false, textfont: {size: 12},
          customdata: rows.map((row, place) => `${plain(rowName(row), 50)}<br>${written(each[place])} ${measures.find(([key]) => key === measure)[1]}${known(each[place]) ? `<br>${grouped(row.cost[measure])} in all` : ""}`), hovertemplate: "%{customdata}<extra></extra>",
        }],
        layout: {xaxis: {rangemode: "tozero", range: [0, 1.12 * Math.max(...each, 1e-9)], side: "top"}, yaxis: nameAxis(rows.map(rowName), leftAxis())},
      };
    },
  });
  return self;
}

function sensitivityChart(board, picked) {
  const rows = modelRows(board).filter((row) => row.sensitivity);
  if (!rows.length) return null;
  return figure({
    title: "Sensitivity", wide: true,
    note: "How often a unit is named, by its movement. Marks: measured; lines: fitted curve; faint dashes: other units, which do not move; upright ticks: the threshold, half-way between chance and ceiling, with its 95 % interval. A model without a line has no threshold.",
    make: () => {
      const lines = picked.rows().filter((row) => rows.includes(row));
      if (!lines.length) return "None of the chosen models has a sensitivity curve.";
      const moving = lines.flatMap((row) => row.sensitivity.levels_px || []).filter((px) => px > 0);
      const still = Math.min(...moving, 1) / 2;
      const data = lines.flatMap((row) => {
        const line = picked.line(row);
        const found = row.sensitivity;
        const levels = (found.levels_px || []).map((px, place) => ({px, hits: found.hits[place], clips: found.clips[place]})).filter((level) => level.clips);
        if (known(found.false_alarms) && !levels.some((level) => level.px === 0)) levels.unshift({px: 0, share: found.false_alarms});
        const share = (level) => (known(level.share) ? level.share : level.hits / level.clips);
        const score = (row.scores || {}).threshold_px || {};
        const note = known(found.threshold_px) && found.note ? `<br>${plain(found.note, 120)}` : "";
        const threshold = known(found.threshold_px) ? `threshold ${valueOf({value: found.threshold_px, bound: score.bound}, "px")} px${known(found.low) && known(found.high) ? ` (${shown(found.low, "px")} to ${shown(found.high, "px")})` : ""}` : `no threshold${found.note ? `, ${found.note}` : ""}`;
        const group = row.entry;
        const curve = found.curve || [];
        const traces = [{
          type: "scatter", mode: "markers", legendgroup: group, name: `${plain(rowName(row), 30)}: ${plain(threshold, innerWidth < 700 ? 20 : 90)}`, x: levels.map((level) => (level.px > 0 ? level.px : still)), y: levels.map(share), marker: {symbol: line.symbol, size: 8, color: line.colour},
          text: levels.map((level) => `${plain(rowName(row), 50)}<br>${known(level.share) ? `named though it does not move: ${shown(level.share)}` : `${shown(level.px, "px")} px: ${level.hits} of ${level.clips}`}<br>${plain(threshold, 120)}${note}`), hovertemplate: "%{text}<extra></extra>",
        }];
        if (curve.length) traces.push({type: "scatter", mode: "lines", legendgroup: group, showlegend: false, x: curve.map((point) => point[0]), y: curve.map((point) => point[1]), line: {color: line.colour, width: 2, dash: line.dash}, hoverinfo: "skip"});
        const others = (found.levels_px || []).map((px, place) => ({px, share: (found.others || [])[place]})).filter((level) => level.px > 0 && known(level.share));
        if (others.length) traces.push({
          type: "scatter", mode: "lines", legendgroup: group, showlegend: false, x: others.map((level) => level.px), y: others.map((level) => level.share), opacity: 0.5, line: {color: line.colour, width: 1.5, dash: "dash"},
          text: others.map((level) => `${plain(rowName(row), 50)}<br>other units named where one moves<br>${shown(level.px, "px")} px: ${shown(level.share)}`), hovertemplate: "%{text}<extra></extra>",
        });
        if (known(found.threshold_px) && known(found.false_alarms) && known(found.ceiling)) {
          traces.push({
            type: "scatter", mode: "markers", legendgroup: group, showlegend: false, x: [found.threshold_px], y: [(found.false_alarms + found.ceiling) / 2], marker: {symbol: "line-ns-open", size: 20, color: line.colour, line: {width: 2.5, color: line.colour}}, hoverinfo: "skip",
            error_x: known(found.low) && known(found.high) ? {type: "data", symmetric: false, array: [found.high - found.threshold_px], arrayminus: [found.threshold_px - found.low], color: line.colour, thickness: 1.5, width: 4} : undefined,
          });
        }
        return traces;
      });
      const ticks = [...new Set(moving)].sort((a, b) => a - b);
      return {
        height: 400 + 22 * lines.length, data, said: "The thresholds are in the table of scores.",
        layout: {
          showlegend: true, legend: {orientation: "v", y: -0.2, yanchor: "top", x: 0, font: {size: 12}},
          xaxis: {type: "log", tickvals: [still, ...ticks], ticktext: ["0", ...ticks.map((px) => String(px))], title: {text: "movement of the unit, px of a frame of 224 px", font: {size: 12}}, tickangle: 0},
          yaxis: {range: [-0.03, 1.03], title: {text: "share of the clips in which the unit is named", font: {size: 12}}},
        },
      };
    },
  });
}

function chartsOf(board) {
  drawnFigures = [];
  const rows = modelRows(board);
  const ordered = [...rows].sort((a, b) => Number(b.ranked) - Number(a.ranked));
  const lines = [];
  const picked = chooser(ordered, () => lines.forEach((one) => one.drawn && one.draw()));
  const clips = board.clip_list || [];
  const asks = {
    labels: rows.some((row) => row.confusion) || (clips.length ? clips.some((clip) => known(clip.label)) : Boolean(board.labels)),
    units: rows.some((row) => row.units) || (clips.length ? clips.some((clip) => known(clip.aus)) : Boolean(board.units)),
  };
  const sensitivity = sensitivityChart(board, picked);
  const strength = (asks.labels || asks.units) && (!sensitivity || rows.some((row) => (row.by_strength || []).length)) ? strengthChart(board, picked) : null;
  const reliability = reliabilityChart(board, picked);
  lines.push(...[sensitivity, strength, reliability].filter(Boolean));
  const all = [scoresChart(board), sensitivity, asks.labels ? confusionChart(board) : null, asks.units ? unitsChart(board) : null, reliability, strength, ratesChart(board), costChart(board)].filter(Boolean);
  const missing = [asks.labels ? null : "coded labels", asks.units ? null : "coded action units"].filter(Boolean);
  const narrow = all.filter((one) => !one.element.classList.contains("wide"));
  if (narrow.length % 2) narrow[narrow.length - 1].element.classList.add("wide");
  all.forEach((one) => watcher.observe(one.element));
  return [
    lines.length ? picked.element : null,
    h("div", {class: "charts"}, all.map((one) => one.element)),
    missing.length ? h("p", {class: "hint"}, text(`This board has no ${missing.join(" and no ")}, so those charts are missing.`)) : null,
  ];
}

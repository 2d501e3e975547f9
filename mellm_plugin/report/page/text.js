// Elements and text. All content of the report becomes text nodes or attributes, never markup.

const $ = (id) => document.getElementById(id);

/** An element: h("p", {class: "note"}, "text", h("b", {}, "more")). Strings become text nodes; null is skipped. */
function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const text = (value) => document.createTextNode(String(value));

/** Untrusted text, isolated so that its direction marks do not affect the text around it. */
const foreign = (value, cls) => h("bdi", {class: cls}, text(value));

const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);
const MINUS = "\u2212";
const DASH = "\u2013";

/** Shares as .847, −.012, 1.000; pixels as 0.42; other numbers as 71.5; unknown values as a dash. */
function shown(value, kind = "share") {
  if (!known(value)) return DASH;
  const size = Math.abs(value);
  let written;
  if (kind === "share") written = size.toFixed(3).replace(/^0\./, ".");
  else if (kind === "px") written = size.toFixed(2);
  else written = Number.isInteger(value) ? grouped(size) : size < 10 ? size.toFixed(2) : size.toFixed(1);
  return (value < 0 && /[1-9]/.test(written) ? MINUS : "") + written;
}

/** The value of a score, with its bound if it lies beyond the measured range: ≤ 0.10, ≥ 3.00. */
const BOUNDS = {__proto__: null, "at most": "\u2264\u00a0", "at least": "\u2265\u00a0"};
const valueOf = (score, kind) => (score && known(score.value) ? `${BOUNDS[score.bound] || ""}${shown(score.value, kind)}` : DASH);

const grouped = (count) => String(Math.round(count)).replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");
const counted = (count, one, many = `${one}s`) => (known(count) ? `${grouped(count)} ${count === 1 ? one : many}` : null);
const percent = (share) => (known(share) ? `${(100 * share).toFixed(share > 0.995 || share === 0 ? 0 : 1)} %` : DASH);
const shortened = (value, most) => {
  const letters = Array.from(String(value));
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}\u2026` : letters.join("");
};

function shownP(p) {
  if (!known(p)) return DASH;
  return p < 0.001 ? "< .001" : shown(p);
}

const bytesOf = (id) => {
  const letters = atob($(id).textContent);
  const bytes = new Uint8Array(letters.length);
  for (let place = 0; place < letters.length; place += 1) bytes[place] = letters.charCodeAt(place);
  return bytes;
};

/** Unpack a script element, which holds gzip in base64. */
function unpacked(id) {
  const stream = new Blob([bytesOf(id)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

const METRICS = {
  __proto__: null,
  emotion_uf1: "Expression: unweighted mean F1 of the labels",
  emotion_uar: "Expression: unweighted mean recall of the labels",
  emotion_acc: "Expression: share of right answers",
  emotion_ece: "Expression: mean difference between confidence and share right (expected calibration error)",
  coarse_uf1: "Negative, positive, surprise: unweighted mean F1",
  coarse_uar: "Negative, positive, surprise: unweighted mean recall",
  coarse_acc: "Negative, positive, surprise: share of right answers",
  au_f1: "Action units: mean F1 of the units",
  au_f1_micro: "Action units: F1 over all units together",
  au_exact: "Share of the answers that name exactly the coded units",
  au_side_acc: "Share of right sides, among the named units that are coded on one side",
  answer_rate: "Share of the clips with an answer",
  parse_rate: "Share of the answers whose label could be read",
  au_parse_rate: "Share of the answers whose units could be read",
  description_facts_f1: "Described movements against the coded units: F1",
  description_facts_precision: "Share of the described movements that the coded units imply",
  description_facts_recall: "Share of the implied movements that are described",
  description_contradiction_rate: "Share of the described movements that the measured flow contradicts",
  description_rate: "Share of the answers that describe a movement",
  description_score: "Points of an LLM judge, 0 to 100",
  judge_rate: "Share of the answers that the judge graded",
  motion_plausible_rate: "Share of the clips with plausible motion; independent of the model",
  threshold_px: "Motion at which units are detected half-way between chance and ceiling",
  sensitivity_ceiling: "Share of moving units named at large movements: the upper end of the fitted curve",
  false_alarm_rate: "Share of units named although nothing moves",
};

const MARKS = {
  __proto__: null,
  limit: ["limited", "The run covers only some of the clips (--limit). Not ranked."],
  leak: ["seen in training", "The model was trained on people in these clips. Not ranked."],
  validation: ["chosen on these clips", "The checkpoint of the model was selected on people in these clips. Not ranked."],
  incomplete: ["incomplete", "Folds of the leave-one-subject-out run failed, so answers are missing."],
  judge: ["other judge", "Another judge graded the descriptions. The points are not comparable."],
  cut_off: ["cut off", "The run ended before its results were written, or samples are missing."],
  unanswered: ["answers never given", "Requests failed, or the model returned no text. Scores are over the other clips. Not ranked."],
  differs: ["scores differ", "The scores in the results file differ from those of its answers. The scores of the answers are shown."],
  clips: ["other clips", "The clips or people differ from those of the other models, so the model is not compared with them."],
  others: ["others named", "If one unit moves, the model names others as well: it detects movement, not units."],
  runs: ["several runs", "Several runs with the same settings gave different answers. The newest complete run is shown."],
};

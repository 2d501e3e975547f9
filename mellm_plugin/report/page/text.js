// Elements and text. Whatever comes from the report becomes a text node or a property set by name, never markup.

const $ = (id) => document.getElementById(id);

/** An element: h("p", {class: "note"}, "text", h("b", {}, "more")). Strings become text nodes; null is left out. */
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

/** Text from outside: isolated, so that no direction mark in it turns what stands beside it. */
const foreign = (value, cls) => h("bdi", {class: cls}, text(value));

const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);
const MINUS = "\u2212";
const DASH = "\u2013";

/** .847, −.012, 1.000: what is a share; 0.42: pixels; 71.5: other numbers. An unknown value is a dash. */
function shown(value, kind = "share") {
  if (!known(value)) return DASH;
  const size = Math.abs(value);
  let written;
  if (kind === "share") written = size.toFixed(3).replace(/^0\./, ".");
  else if (kind === "px") written = size.toFixed(2);
  else written = Number.isInteger(value) ? grouped(size) : size < 10 ? size.toFixed(2) : size.toFixed(1);
  return (value < 0 && /[1-9]/.test(written) ? MINUS : "") + written;
}

/** A score's value; one that lies beyond what was measured says so: ≤ 0.10, ≥ 3.00. */
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

/** What a script element holds: gzip in base64. */
function unpacked(id) {
  const stream = new Blob([bytesOf(id)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

const METRICS = {
  __proto__: null,
  emotion_uf1: "Expression: F1 of every label, unweighted mean",
  emotion_uar: "Expression: recall of every label, unweighted mean",
  emotion_acc: "Expression: share of the clips read right",
  coarse_uf1: "Negative, positive, surprise: F1, unweighted mean",
  coarse_uar: "Negative, positive, surprise: recall, unweighted mean",
  coarse_acc: "Negative, positive, surprise: share read right",
  au_f1: "Action units: F1 of \u201cpresent\u201d for every unit, mean",
  au_f1_micro: "Action units: F1 of \u201cpresent\u201d over all units together",
  au_exact: "Share of the clips whose answer names exactly the coded units",
  au_side_acc: "Of the one-sided units that are named, share whose side is right",
  answer_rate: "Share of the answers that were given",
  parse_rate: "Share of the answers whose label could be read",
  au_parse_rate: "Share of the answers with a statement on units",
  description_facts_f1: "Described movements against the coded units: F1",
  description_facts_precision: "Share of the described movements that the coded units imply",
  description_facts_recall: "Share of the implied movements that are described",
  description_contradiction_rate: "Share of the described movements that the measured flow contradicts",
  description_rate: "Share of the answers that describe a movement",
  description_score: "Points of an LLM judge, 0 to 100",
  judge_rate: "Share of the answers that the judge gave a verdict on",
  motion_plausible_rate: "Share of the clips whose motion is plausible; says nothing about a model",
  threshold_px: "Motion at which units are detected half-way between chance and ceiling",
  sensitivity_ceiling: "Share of moving units that the fitted curve approaches for large movements",
  false_alarm_rate: "Share of the units that are named where nothing moves",
};

const MARKS = {
  __proto__: null,
  limit: ["limited", "Run over a part of the clips (--limit). Shown, not ranked beside whole runs."],
  leak: ["seen in training", "The model was trained on people of these clips. Not ranked beside models that were not."],
  validation: ["chosen on these clips", "The model\u2019s checkpoint was chosen on people of these clips. Not ranked beside models that never met them."],
  incomplete: ["incomplete", "Folds of a leave-one-subject-out run failed, so answers are missing."],
  judge: ["other judge", "The descriptions were judged by another judge. Their points are not comparable."],
  cut_off: ["cut off", "The run ended before its results were written, or samples are missing."],
  unanswered: ["answers never given", "Requests failed, or the model said nothing. Scores are over the other clips. Not ranked."],
  differs: ["scores differ", "The scores in the results file are others than those of its answers. Shown are those of the answers."],
  clips: ["other clips", "Its clips or people are not those of the other models, so it is not compared with them."],
  others: ["others named", "Where one unit moves, others are named as well: the threshold is one of movement, not of units."],
  runs: ["several runs", "Several runs of the same settings gave different answers. The newest whole one is shown."],
};

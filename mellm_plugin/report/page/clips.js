// The clips of a board: filtered, listed, opened. Only visible rows are in the document.

const ROW = 46;
let gallery = null;

/** Whether the answer could not be read. For a clip without a label, the units decide. */
function unread(columns, place, clip) {
  const unlabelled = !known(clip.label) && !known(clip.coarse) && !known(columns.label_right[place]);
  return known(columns.unparsed[place]) && !(unlabelled && known(columns.aus_right[place]) && known(columns.aus[place]));
}

/** Whether there is no answer: the clip was not part of the run, or its answer is missing. */
function absent(columns, place) {
  return !known(columns.text[place]) || String(columns.unparsed[place] ?? "").startsWith("never given: ");
}

/** Right, wrong, unread or absent: by the label if the task asks for it, else by the units. */
function outcomeOf(columns, place, clip) {
  if (!columns || absent(columns, place)) return "absent";
  if (unread(columns, place, clip)) return "unread";
  const right = known(columns.label_right[place]) ? columns.label_right[place] : columns.aus_right[place];
  return right === true ? "right" : right === false ? "wrong" : "open";
}
const OUTCOMES = {right: "right", wrong: "wrong", unread: "could not be read", absent: "no answer", open: "neither right nor wrong"};

const TESTS = {
  __proto__: null,
  "label right": (columns, place) => columns.label_right[place] === true,
  "label wrong": (columns, place) => columns.label_right[place] === false,
  "units exactly right": (columns, place) => columns.aus_right[place] === true,
  "units not exactly right": (columns, place) => columns.aus_right[place] === false,
  "could not be read": (columns, place, clip) => unread(columns, place, clip) && !absent(columns, place),
  "no answer": absent,
};

/** Whether the models disagree on a clip: on its label if any was read, else on its units. */
function disagrees(answers, place) {
  const labels = new Set();
  const units = new Set();
  for (const columns of answers) {
    if (!known(columns.text[place])) continue;
    if (known(columns.label[place])) labels.add(columns.label[place]);
    if (known(columns.aus[place])) units.add([...columns.aus[place]].sort().join());
  }
  return labels.size ? labels.size > 1 : units.size > 1;
}

const unitNumbers = (code) => (String(code).match(/\d+/g) || []).map(Number);
const asked = (values) => [...new Set(values.filter(known))].sort((a, b) => compared(a, b, 1));

function clipsOf(board) {
  const clips = board.clip_list || [];
  if (!clips.length) {
    gallery = null;
    return h("p", {class: "note"}, text("There are no answers to single clips: run lmms-eval with --log_samples to browse them."));
  }
  const models = Object.keys(board.answers || {}).filter((key) => board.rows.some((row) => row.entry === key)).sort((a, b) => entryPlace(board, a) - entryPlace(board, b));
  const columnsOf = models.map((key) => board.answers[key]);
  const sole = new Set(clips.map((clip) => clip.dataset)).size === 1 ? `${clips[0].dataset}/` : null;
  const short = (id) => (sole && String(id).startsWith(sole) ? String(id).slice(sole.length) : id);
  let lowered = null;
  let found = [];
  let active = 0;

  const list = h("div", {class: "list", role: "listbox", tabindex: "0", "aria-label": "Clips. Arrow keys move, Enter opens."});
  const inner = h("div", {class: "inner"});
  list.append(inner);
  const count = h("p", {class: "count", role: "status"});

  function matches() {
    const wanted = state.find.trim().toLowerCase();
    let textHits = null;
    if (wanted) {
      lowered = lowered || report.texts.map((value) => value.toLowerCase());
      textHits = new Uint8Array(lowered.length);
      lowered.forEach((value, place) => { if (value.includes(wanted)) textHits[place] = 1; });
    }
    const unit = state.unit ? Number(state.unit) : null;
    const of = state.of ? [board.answers[state.of]].filter(Boolean) : columnsOf;
    const test = TESTS[state.outcome];
    const places = [];
    clips.forEach((clip, place) => {
      if (state.dataset && clip.dataset !== state.dataset) return;
      if (state.subject && clip.subject !== state.subject) return;
      if (state.label && clip.label !== state.label) return;
      if (unit !== null && !(clip.aus || []).some((code) => unitNumbers(code).includes(unit))) return;
      if (test && !of.some((columns) => test(columns, place, clip))) return;
      if (state.disagree && !disagrees(columnsOf, place)) return;
      if (wanted && !String(clip.id).toLowerCase().includes(wanted) && !String(clip.label || "").toLowerCase().includes(wanted) && !columnsOf.some((columns) => known(columns.text[place]) && textHits[columns.text[place]])) return;
      places.push(place);
    });
    const rights = (place) => columnsOf.filter((columns) => outcomeOf(columns, place, clips[place]) === "right").length;
    const orders = {
      id: (a, b) => compared(clips[a].id, clips[b].id, 1),
      weak: (a, b) => compared(clips[a].motion_px, clips[b].motion_px, 1),
      strong: (a, b) => compared(clips[a].motion_px, clips[b].motion_px, -1),
      hard: (a, b) => rights(a) - rights(b),
      easy: (a, b) => rights(b) - rights(a),
    };
    if (orders[state.order]) places.sort(orders[state.order]);
    return places;
  }

  const option = (position) => {
    const place = found[position];
    const clip = clips[place];
    const marks = h("span", {class: "outcomes", "aria-hidden": "true"}, columnsOf.map((columns, model) => {
      const outcome = outcomeOf(columns, place, clip);
      return h("i", {class: `o ${outcome}`, title: `${entryName(models[model])}: ${OUTCOMES[outcome]}`});
    }));
    const right = columnsOf.filter((columns) => outcomeOf(columns, place, clip) === "right").length;
    const row = h("div", {
      class: position === active ? "row active" : "row", role: "option", id: `row-${position}`, "aria-selected": String(position === active), "aria-setsize": found.length, "aria-posinset": position + 1,
      onclick: () => { active = position; openClip(place); },
    },
    h("span", {class: "id", title: clip.id}, foreign(short(clip.id))), h("span", {class: "gold"}, known(clip.label) ? foreign(clip.label) : h("span", {class: "none"}, text("no label"))),
    h("span", {class: "units"}, foreign(known(clip.aus) ? (clip.aus.length ? clip.aus.join(" + ") : "no unit") : DASH)),
    h("span", {class: "px"}, text(known(clip.motion_px) ? `${shown(clip.motion_px, "px")} px` : DASH)),
    marks, h("span", {class: "right"}, text(`${right}/${models.length}`), h("span", {class: "sr"}, text(" models right"))));
    row.style.top = `${position * ROW}px`;
    return row;
  };

  function paint() {
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 4);
    const last = Math.min(found.length, Math.ceil((list.scrollTop + (list.clientHeight || 500)) / ROW) + 4);
    const rows = [];
    for (let position = first; position < last; position += 1) rows.push(option(position));
    inner.replaceChildren(...rows);
    if (active >= first && active < last) list.setAttribute("aria-activedescendant", `row-${active}`);
    else list.removeAttribute("aria-activedescendant");
  }

  function refresh(keep = false) {
    found = matches();
    if (!keep) { active = 0; list.scrollTop = 0; }
    inner.style.height = `${found.length * ROW}px`;
    list.style.height = `${Math.min(12, Math.max(2, found.length)) * ROW + 2}px`;
    count.textContent = found.length === clips.length ? counted(clips.length, "clip") : `${grouped(found.length)} of ${counted(clips.length, "clip")}`;
    list.classList.toggle("nothing", !found.length);
    if (!found.length) inner.replaceChildren(h("p", {class: "note"}, text("No clip fits these filters.")));
    else paint();
  }

  list.addEventListener("scroll", () => found.length && paint(), {passive: true});
  list.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(list.clientHeight / ROW) - 1);
    const steps = {ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity};
    if (!found.length) return;
    if (event.key in steps) {
      active = Math.max(0, Math.min(found.length - 1, active + steps[event.key]));
      const top = active * ROW;
      if (top < list.scrollTop) list.scrollTop = top;
      else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
      paint();
      event.preventDefault();
    } else if (event.key === "Enter" || event.key === " ") {
      openClip(found[active]);
      event.preventDefault();
    }
  });

  const fields = h("div", {class: "filters"});
  const set = (name) => (value) => { state[name] = value; writeAddress(); refresh(); drawReset(); };
  const filter = (name, label, values, all) => {
    const options = values.map((value) => (Array.isArray(value) ? value : [String(value), String(value)]));
    if (state[name] && !options.some(([key]) => key === state[name])) state[name] = "";
    return options.length > 1 || state[name] ? choice(label, [["", all], ...options], state[name], set(name)) : null;
  };
  const reset = h("button", {type: "button", class: "quiet", onclick: () => { FILTERS.forEach((name) => { state[name] = ""; }); writeAddress(); fill(); refresh(); }}, text("Clear"));
  const drawReset = () => { reset.hidden = !FILTERS.some((name) => state[name]); };
  const tests = Object.keys(TESTS).filter((name) => columnsOf.some((columns) => clips.some((clip, place) => TESTS[name](columns, place, clip))));
  let waiting = 0;

  function fill() {
    const find = h("input", {type: "search", placeholder: "words, id or label", "aria-label": "Search", oninput: (event) => {
      clearTimeout(waiting);
      const {value} = event.target;
      waiting = setTimeout(() => set("find")(value.slice(0, 200)), 120);
    }});
    find.value = state.find;
    const disagree = h("input", {type: "checkbox", onchange: (event) => set("disagree")(event.target.checked ? "1" : "")});
    disagree.checked = Boolean(state.disagree);
    fields.replaceChildren(...[
      h("label", {class: "choice find"}, h("span", {}, text("Find")), find),
      filter("dataset", "Dataset", asked(clips.map((clip) => clip.dataset)), "all"),
      filter("subject", "Subject", asked(clips.map((clip) => clip.subject)), "all"),
      filter("label", "Label", asked(clips.map((clip) => clip.label)), "all"),
      filter("unit", "Unit", asked(clips.flatMap((clip) => (clip.aus || []).flatMap(unitNumbers))).map((unit) => [String(unit), `${unit} ${report.unit_names[unit] || ""}`]), "all"),
      filter("outcome", "Answer", tests, "any"),
      filter("of", "of", models.map((key) => [key, shortened(entryName(key), 40)]), "any model"),
      filter("order", "Order", [["hard", "hardest first"], ["easy", "easiest first"], ["weak", "weakest motion first"], ["strong", "strongest motion first"], ["id", "by id"]], "as in the data"),
      models.length > 1 ? h("label", {class: "check"}, disagree, text("models disagree")) : null,
      reset,
    ].filter(Boolean));
    drawReset();
  }

  fill();
  gallery = {
    board, clips, models, columnsOf,
    near: (place, step) => { const at = found.indexOf(place); return at < 0 ? found[0] : found[at + step]; },
    position: (place) => [found.indexOf(place) + 1, found.length],
    show: (place) => {
      const at = found.indexOf(place);
      if (at < 0) return;
      active = at;
      list.scrollTop = Math.max(0, at * ROW - list.clientHeight / 2);
      paint();
    },
    focus: () => list.focus({preventScroll: true}),
  };
  queueMicrotask(() => refresh());
  const head = h("div", {class: "row head", "aria-hidden": "true"}, h("span", {class: "id"}, text("Clip")), h("span", {class: "gold"}, text("Label")), h("span", {class: "units"}, text("Units")), h("span", {class: "px"}, text("Motion")),
    h("span", {class: "outcomes"}, text("Models")), h("span", {class: "right"}, text("Right")));
  const key = h("p", {class: "hint key"}, h("i", {class: "o right"}), text(" right "), h("i", {class: "o wrong"}), text(" wrong "), h("i", {class: "o unread"}), text(" could not be read "), h("i", {class: "o absent"}), text(" no answer; models in the order of the table"));
  const wrap = h("div", {class: "gallery"}, fields, h("div", {class: "tools"}, count, key), h("div", {class: "list-box"}, head, list));
  wrap.style.setProperty("--models", String(models.length));
  return wrap;
}

const entryPlace = (board, key) => board.rows.findIndex((row) => row.entry === key);

/** The text of an answer with the parts that were read marked. Offsets count code points, as in Python. */
function marked(value, spans) {
  const letters = Array.from(value);
  const part = (from, to) => letters.slice(from, to).join("");
  const pieces = [];
  let end = 0;
  for (const [from, to, kind] of [...(spans || [])].filter((span) => Array.isArray(span)).sort((a, b) => a[0] - b[0])) {
    const start = Math.max(from, end);
    const stop = Math.min(to, letters.length);
    if (!(start < stop)) continue;
    pieces.push(text(part(end, start)), h("mark", {class: kind === "label" ? "label" : "unit", title: kind === "label" ? "read as the label" : "read as a unit"}, text(part(start, stop))));
    end = stop;
  }
  pieces.push(text(part(end)));
  return pieces;
}

/** The id of the clip; an id in the list may name one of several questions about it. */
const shownClip = (clip) => String(known(clip.clip) ? clip.clip : clip.id);

let pictureBytes = null;
let pictureAddresses = [];

/** A picture of a clip, or null if the page does not have it. */
function pictureOf(id, kind) {
  const places = Object.hasOwn(report.pictures, id) ? report.pictures[id] : null;
  const at = ["onset", "apex", "map"].indexOf(kind) * 2;
  if (!places || !known(places[at])) return null;
  pictureBytes = pictureBytes || bytesOf("pictures");
  const address = URL.createObjectURL(new Blob([pictureBytes.subarray(places[at], places[at] + places[at + 1])], {type: "image/webp"}));
  pictureAddresses.push(address);
  const image = h("img", {alt: {onset: "Onset frame", apex: "Apex frame", map: "Motion map from onset to apex"}[kind]});
  image.src = address;
  return image;
}

const named = (number) => (report.unit_names[number] ? `AU${number} ${report.unit_names[number]}` : `AU${number}`);

function answerCard(board, key, columns, place, clip) {
  const outcome = outcomeOf(columns, place, clip);
  const head = h("header", {}, h("i", {class: `o ${outcome}`, "aria-hidden": "true"}), h("h4", {}, foreign(entryName(key))), h("span", {class: "verdict"}, text(OUTCOMES[outcome])));
  if (outcome === "absent") return h("article", {class: "answer"}, head, h("p", {class: "hint"}, text("The run has no answer for this clip"), known(columns.unparsed[place]) ? [text(": "), foreign(columns.unparsed[place])] : text(".")));
  const facts = [];
  if (known(columns.label[place])) facts.push(["Label read", h("span", {class: columns.label_right[place] === false ? "is-wrong" : columns.label_right[place] ? "is-right" : ""}, foreign(columns.label[place]), columns.label_right[place] === false ? text(" (wrong)") : null)]);
  if (known(columns.aus[place])) {
    const gold = known(clip.aus) ? clip.aus.map(unitNumbers) : null;
    const read = columns.aus[place];
    const units = read.map((unit) => {
      const extra = gold && !gold.some((either) => either.includes(Number(unit)));
      return h("span", {class: extra ? "au is-wrong" : "au", title: named(unit)}, foreign(unit), extra ? h("span", {class: "sr"}, text(" (not coded)")) : null);
    });
    const missed = gold ? gold.filter((either) => !read.some((unit) => either.includes(Number(unit)))) : [];
    facts.push(["Units read", h("span", {}, units.length ? units : text("none"), missed.length ? h("span", {class: "missed"}, text(` missed ${missed.map((either) => either.join("/")).join(", ")}`)) : null)]);
  }
  if (unread(columns, place, clip)) facts.push(["Not read", foreign(columns.unparsed[place])]);
  const judge = columns.judge[place];
  if (judge && typeof judge === "object") {
    const rest = Object.entries(judge).filter(([name, value]) => name !== "score" && known(value) && value !== "");
    facts.push(["Judge", h("span", {}, h("b", {}, text(known(judge.score) ? `${shown(judge.score, "number")} points` : "no verdict")),
      rest.map(([name, value]) => h("span", {class: "judged"}, text(`${name.replace(/_/g, " ")}: `), foreign(typeof value === "object" ? JSON.stringify(value) : value))))]);
  }
  return h("article", {class: "answer"}, head,
    facts.length ? h("dl", {}, facts.map(([name, value]) => [h("dt", {}, text(name)), h("dd", {}, value)])) : null,
    h("blockquote", {dir: "auto", class: "said"}, marked(report.texts[columns.text[place]], columns.read[place]).map((piece) => piece)));
}

function openClip(place, step = true) {
  if (!gallery || !gallery.clips[place]) return;
  const {board, clips, models, columnsOf} = gallery;
  const clip = clips[place];
  const dialog = $("clip");
  pictureAddresses.forEach((address) => URL.revokeObjectURL(address));
  pictureAddresses = [];
  const go = (by) => { const next = gallery.near(place, by); if (known(next)) openClip(next, false); };
  const [position, all] = gallery.position(place);
  const button = (by, name, sign) => {
    const made = h("button", {type: "button", class: "quiet", "aria-label": name, title: name, onclick: () => go(by)}, text(sign));
    made.disabled = !known(gallery.near(place, by));
    return made;
  };
  const images = ["onset", "apex", "map"].map((kind) => [kind, pictureOf(shownClip(clip), kind)]).filter(([, image]) => image);
  const pictures = images.length
    ? h("div", {class: "pictures"}, images.map(([kind, image]) => h("figure", {}, image, h("figcaption", {}, text(kind === "map" ? "motion map" : kind)))))
    : h("p", {class: "hint"}, text(Object.keys(report.pictures).length ? "No pictures of this clip in this page. To add them: " : board.licensed ? "This page has no pictures because the frames are licensed. For your own use: " : "This page was made without pictures. On a machine with the prepared dataset: "), h("code", {}, text("mellm report --pictures")));
  const gold = [
    ["Label", known(clip.label) ? foreign(clip.label) : null], ["Coarse", known(clip.coarse) ? foreign(clip.coarse) : null],
    ["Units", known(clip.aus) ? (clip.aus.length ? h("span", {}, clip.aus.map((code) => h("span", {class: "au wide"}, foreign(code), text(" "), text(unitNumbers(code).map((number) => report.unit_names[number]).filter(Boolean).join(" or "))))) : text("none")) : null],
    ["Motion", known(clip.motion_px) ? text(`${shown(clip.motion_px, "px")} px of a frame of 224 px`) : null],
    ["Subject", known(clip.subject) ? foreign(clip.subject) : null], ["Dataset", known(clip.dataset) ? foreign(clip.dataset) : null],
    ["Doubts", (clip.doubts || []).length ? foreign(clip.doubts.join("; ")) : null],
  ].filter(([, value]) => value);
  const held = dialog.open ? document.activeElement && document.activeElement.getAttribute("aria-label") : null;
  dialog.replaceChildren(
    h("header", {class: "dialog-head"}, h("h2", {id: "clip-title"}, foreign(clip.id)), h("span", {class: "hint"}, text(position ? `${grouped(position)} of ${grouped(all)}` : "")),
      button(-1, "Previous clip", "\u2190"), button(1, "Next clip", "\u2192"), h("button", {type: "button", class: "quiet", "aria-label": "Close", onclick: () => dialog.close()}, text("Close"))),
    h("div", {class: "dialog-body"}, h("div", {class: images.length ? "about" : "about bare"}, pictures, h("dl", {class: "facts"}, gold.map(([name, value]) => [h("dt", {}, text(name)), h("dd", {}, value)]))),
      h("h3", {}, text(models.length === 1 ? "The answer" : `${models.length} answers`)), h("div", {class: "answers"}, models.map((key, model) => answerCard(board, key, columnsOf[model], place, clip)))));
  if (!dialog.open) dialog.showModal();
  const back = held && dialog.querySelector(`button[aria-label="${CSS.escape(held)}"]:not(:disabled)`);
  (back || dialog.querySelector("button[aria-label=Close]")).focus();
  dialog.scrollTop = 0;
  gallery.show(place);
  state.clip = String(clip.id).slice(0, 400);
  writeAddress(step);
}

function clipKeys(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || !["ArrowLeft", "ArrowRight"].includes(event.key) || !gallery) return;
  const place = gallery.clips.findIndex((clip) => clip.id === state.clip);
  const next = gallery.near(place, event.key === "ArrowLeft" ? -1 : 1);
  if (known(next)) openClip(next, false);
  event.preventDefault();
}

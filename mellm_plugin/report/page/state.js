// What is looked at stands behind the # of the address, so that a view can be kept or sent: #task=..&label=fear&clip=..

const DEFAULTS = {
  task: "", metric: "", model: "", dataset: "", subject: "", label: "", unit: "", outcome: "", of: "", disagree: "", find: "", order: "", clip: "",
};
const FILTERS = ["dataset", "subject", "label", "unit", "outcome", "of", "disagree", "find", "order"];
const state = {...DEFAULTS};

/** Take the state from the address; what is not known there is left out. */
function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const name of Object.keys(DEFAULTS)) state[name] = (given.get(name) || "").slice(0, 400);
}

function writeAddress(step = false) {
  const set = new URLSearchParams();
  for (const [name, value] of Object.entries(state)) if (value) set.set(name, value);
  const address = `#${set}`;
  if (address === location.hash || (address === "#" && !location.hash)) return;
  history[step ? "pushState" : "replaceState"](null, "", address);
}

// The view is part of the address, so that it can be saved and shared: #task=..&label=fear&clip=..

const DEFAULTS = {
  task: "", metric: "", model: "", dataset: "", subject: "", label: "", unit: "", outcome: "", of: "", disagree: "", find: "", order: "", clip: "",
};
const FILTERS = ["dataset", "subject", "label", "unit", "outcome", "of", "disagree", "find", "order"];
const state = {...DEFAULTS};

/** Take the state from the address; unknown keys are ignored. */
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

// What the pages of all widgets share; it stands in front of the script of each.

const SVG = "http://www.w3.org/2000/svg";
const LETTERS = { A: "#F2C14E", C: "#8CCBF0", G: "#7CC8A4", U: "#E2A6C6" };

function node(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function shape(tag, attributes = {}, parent) {
  const made = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent?.append(made);
  return made;
}

// Colours from a number between 0 and 1.
const ramp = stops => p => {
  const at = Math.min(0.9999, Math.max(0, p)) * (stops.length - 1), k = Math.floor(at), part = at - k;
  return `rgb(${stops[k].map((c, n) => Math.round(c + part * (stops[k + 1][n] - c))).join(",")})`;
};
const viridis = ramp([[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]);

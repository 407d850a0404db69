// The drawing of the folding studio, at the places and in the colours that Python sends, and the key of its colours.

const GREY = "#8c8c8c";
const DASHES = { line: null, dot: null, dashed: "0.4 0.25" };

// Whether a colour is so dark that letters on it are white.
function isDark(color) {
  const [r, g, b] = [1, 3, 5].map(k => parseInt(color.slice(k, k + 2), 16) / 255);
  return 0.3 * r + 0.59 * g + 0.11 * b < 0.45;
}

// Wheel and drag move what an svg shows; frame() says what all of it is. The wheel is the page's unless the svg has the focus.
function pannable(svg) {
  let box = [0, 0, 1, 1], view = [...box], drag = null;
  const apply = () => svg.setAttribute("viewBox", view.join(" "));
  const place = event => {
    const r = svg.getBoundingClientRect(), scale = Math.max(view[2] / r.width, view[3] / r.height);
    return [view[0] + view[2] / 2 + (event.clientX - r.left - r.width / 2) * scale,
            view[1] + view[3] / 2 + (event.clientY - r.top - r.height / 2) * scale, scale];
  };
  const zoom = (factor, x = view[0] + view[2] / 2, y = view[1] + view[3] / 2) => {
    const next = Math.min(Math.max(view[2] * factor, 4), box[2] * 3) / view[2];
    view = [x - (x - view[0]) * next, y - (y - view[1]) * next, view[2] * next, view[3] * next];
    apply();
  };
  svg.addEventListener("wheel", event => {
    if (document.activeElement !== svg) return;
    event.preventDefault();
    event.stopPropagation();
    const [x, y] = place(event);
    zoom(event.deltaY > 0 ? 1.15 : 1 / 1.15, x, y);
  }, { passive: false });
  svg.addEventListener("pointerdown", event => { svg.focus({ preventScroll: true }); drag = [event.clientX, event.clientY, false]; });
  svg.addEventListener("pointermove", event => {
    if (!drag) return;
    const dx = event.clientX - drag[0], dy = event.clientY - drag[1];
    if (!drag[2] && Math.hypot(dx, dy) < 4) return;
    if (!drag[2]) svg.setPointerCapture(event.pointerId);
    const scale = place(event)[2];
    view[0] -= dx * scale; view[1] -= dy * scale;
    drag = [event.clientX, event.clientY, true];
    apply();
  });
  const end = () => { setTimeout(() => { drag = null; }); };
  svg.addEventListener("pointerup", end);
  svg.addEventListener("pointercancel", end);
  const fit = () => { view = [...box]; apply(); };
  // What is to be seen of it: left, top, width, height; null for all.
  const window = () => {
    if (view.every((value, k) => value === box[k])) return null;
    const r = svg.getBoundingClientRect(), scale = Math.max(view[2] / r.width, view[3] / r.height);
    const [width, height] = [r.width * scale, r.height * scale];
    return [view[0] + (view[2] - width) / 2, view[1] + (view[3] - height) / 2, width, height];
  };
  return { zoom, fit, window, frame: whole => { box = whole; fit(); }, dragged: () => Boolean(drag?.[2]) };
}

function structureDrawing(palette) {
  const svg = shape("svg", { tabindex: "0", role: "img", preserveAspectRatio: "xMidYMid meet" });
  svg.setAttribute("aria-label", "Structure; arrow keys go along the sequence, Enter chooses a nucleotide");
  const camera = pannable(svg);
  let framed = null, rings = [];

  function draw(view) {
    svg.replaceChildren();
    rings = [];
    const { x, y } = view, n = x.length;
    if (!n) return;
    const ink = kind => palette[kind] ?? "currentColor";
    shape("polyline", { points: x.map((v, k) => `${v},${y[k]}`).join(" "), fill: "none", stroke: GREY, "stroke-width": 0.13 }, svg);
    const bends = new Map(view.bends.map(([i, j, ...at]) => [`${i},${j}`, at]));
    const pairs = shape("g", { class: "rk-pairs" }, svg), curves = shape("g");
    for (const [i, j, kind, style] of view.marks) {
      const bend = bends.get(`${i},${j}`), look = { "data-pair": `${i},${j}`, "data-kind": kind, "data-style": style };
      if (style === "dot" && !bend) {
        shape("circle", { cx: (x[i] + x[j]) / 2, cy: (y[i] + y[j]) / 2, r: 0.15, fill: ink(kind), ...look }, pairs);
        continue;
      }
      const line = { d: `M ${x[i]} ${y[i]} ${bend ? `Q ${bend.join(" ")}` : "L"} ${x[j]} ${y[j]}`, fill: "none", stroke: ink(kind), "stroke-width": 0.16, ...look };
      if (DASHES[style]) line["stroke-dasharray"] = DASHES[style];
      shape("path", line, bend ? curves : pairs);
    }
    svg.append(curves);
    const bases = shape("g", { class: "rk-bases" }, svg);
    for (let k = 0; k < n; k++) {
      const fill = view.fills?.[k];
      shape("circle", { cx: x[k], cy: y[k], r: 0.42, fill: fill ?? "var(--rk-back)", stroke: fill ? "none" : "currentColor", "stroke-width": 0.06, "data-base": k }, bases);
      if (n > 1000) continue;
      const letter = shape("text", { x: x[k], y: y[k], "font-size": 0.6, class: "rk-letter" }, bases);
      letter.textContent = view.sequence[k];
      letter.style.fill = fill ? (isDark(fill) ? "#fff" : "#222") : "currentColor";
    }
    const labels = shape("g", { class: "rk-labels" }, svg);
    for (const [text, cx, cy, size, x1, y1, x2, y2] of view.labels) {
      if (x1 != null) shape("line", { x1, y1, x2, y2, stroke: GREY, "stroke-width": 0.08 }, labels);
      const label = shape("text", { x: cx, y: cy, "font-size": size, "text-anchor": "middle", "dominant-baseline": "central" }, labels);
      label.textContent = text;
      label.setAttribute("class", x1 == null ? "rk-end" : "rk-tick");
    }
    const ring = look => shape("circle", { r: 0.62, fill: "none", stroke: "currentColor", "stroke-width": 0.24, visibility: "hidden", "pointer-events": "none", ...look }, svg);
    rings = [ring({}), ring({}), ring({ "stroke-dasharray": "0.3 0.2" }), ring({ "stroke-dasharray": "0.3 0.2" })];
    const seen = `${view.sequence} ${view.dot_bracket}`;
    if (framed !== seen) camera.frame(view.box);
    framed = seen;
  }

  // A base and its partner, and two that were chosen
  function mark(view, ...at) {
    rings.forEach((one, number) => {
      const k = at[number];
      one.setAttribute("visibility", k == null ? "hidden" : "visible");
      if (k != null) { one.setAttribute("cx", view.x[k]); one.setAttribute("cy", view.y[k]); }
    });
  }
  return { svg, camera, draw, mark };
}

// What the colours mean that are to be seen at this moment
function colourKey(view, palette, drawn, lettered) {
  const root = node("div", { class: "rk-key", "aria-label": "Key of the colours" });
  const sample = draw => { const svg = shape("svg", { viewBox: "0 0 24 10", class: "rk-sample" }); draw(svg); return svg; };
  const entry = (picture, words) => root.append(node("span", { class: "rk-entry" }, picture, words));
  if (view.color_by === "probability") root.append(colourScale(palette.confidence, "probability that a base is as shown"));
  if (drawn || lettered || view.color_by !== "nucleotide") for (const [words, color] of view.swatches) entry(sample(svg => shape("circle", { cx: 12, cy: 5, r: 4.5, fill: color }, svg)), words);
  for (const [style, kind, words] of view.keys) {
    if (!drawn && (style === "dot" || kind === "pair")) continue;
    const color = palette[kind] ?? "currentColor";
    entry(sample(svg => style === "dot" ? shape("circle", { cx: 12, cy: 5, r: 2.5, fill: color }, svg)
      : shape("line", { x1: 1, x2: 23, y1: 5, y2: 5, stroke: color, "stroke-width": 2.5, "stroke-dasharray": style === "dashed" ? "5 3" : "none" }, svg)), words);
  }
  return root;
}

function colourScale(stops, words) {
  const bar = node("i", { class: "rk-scale" });
  bar.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
  return node("span", { class: "rk-entry" }, `${words} 0 `, bar, " 1");
}

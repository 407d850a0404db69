// The page's side of the embedding explorer (../embedding_explorer.py). Names from files only ever go through textContent.

const PLACED = "#e4007c", FOUND = "#ffd400", NO_NUMBER = "#8c8c8c";
const MARKERS = {  // of Matplotlib, about one unit around the origin
  o: "M1 0A1 1 0 1 1 -1 0A1 1 0 1 1 1 0Z",
  D: "M0 -1.25L1.25 0L0 1.25L-1.25 0Z",
  s: "M-.9 -.9H.9V.9H-.9Z",
  "^": "M0 -1.15L1.15 .95H-1.15Z",
  v: "M0 1.15L1.15 -.95H-1.15Z",
  P: "M-.45 -1.2H.45V-.45H1.2V.45H.45V1.2H-.45V.45H-1.2V-.45H-.45Z",
  "*": "M0 -1.5L.36 -.5L1.43 -.46L.59 .19L.88 1.21L0 .62L-.88 1.21L-.59 .19L-1.43 -.46L-.36 -.5Z",
  X: "M-1.2 -.55L-.55 -1.2L0 -.6L.55 -1.2L1.2 -.55L.6 0L1.2 .55L.55 1.2L0 .6L-.55 1.2L-1.2 .55L-.6 0Z",
};

function floats(raw) {
  return raw?.byteLength ? new Float32Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.byteLength)) : new Float32Array();
}

function inside(x, y, polygon) {
  let found = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [xi, yi] = polygon[i], [xj, yj] = polygon[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) found = !found;
  }
  return found;
}

const median = values => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
const short = (name, longest = 28) => (name.length > longest ? `${name.slice(0, longest - 9)}…${name.slice(-8)}` : name);
const three = value => (value === 0 ? "0" : Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5 ? value.toExponential(2) : String(Number(value.toPrecision(3))));

// Where labels find room, as in rinalmo_kit.plot.embedding_map: at their point, or on a spiral around it.
function labelPlaces(wanted, width, height, size) {
  const taken = [], found = [];
  for (const { anchor: [ax, ay], half: [hw, hh], ...label } of wanted) {
    if (ax < 0 || ay < 0 || ax > width || ay > height) continue;
    for (let turn = 0; turn < 60; turn++) {
      const away = size * 0.55 * Math.sqrt(turn), x = ax + away * Math.cos(2.4 * turn), y = ay + away * 0.6 * Math.sin(2.4 * turn);
      if (x < hw || y < hh || x > width - hw || y > height - hh) continue;
      if (taken.some(([tx, ty, tw, th]) => Math.abs(x - tx) < hw + tw && Math.abs(y - ty) < hh + th)) continue;
      taken.push([x, y, hw, hh]);
      found.push({ ...label, x, y, anchor: [ax, ay], leader: Math.hypot(x - ax, y - ay) > 1.5 * size });
      break;
    }
  }
  return found;
}

function render({ model, el }) {
  let x, y, codes, paths = [], middles = [], hidden = new Set(), view = null, lasso = null, drag = null, lassoing = false;
  let found = new Set(), near = -1, placedBefore = 0, naming = true, legendIsDark = null;

  const canvas = node("canvas", { tabindex: "0", role: "img", "aria-label": "Map of embeddings; + and − zoom, arrow keys move, Escape leaves it" });
  const color = node("select", { "aria-label": "Colour by", onchange: () => { model.set("color", color.value); model.save_changes(); } });
  const search = node("input", { type: "search", placeholder: "name contains …", "aria-label": "Search by name" });
  search.addEventListener("input", () => { find(); draw(); });
  search.addEventListener("keydown", event => { event.stopPropagation(); if (event.key === "Enter" && found.size) select([...found]); });
  const toggle = (title, pressed, act, text) => { const made = node("button", { "aria-pressed": String(pressed), title, onclick: () => made.setAttribute("aria-pressed", String(act())) }, text); return made; };
  const mode = toggle("Draw a loop around points to select them; also with Shift", false, () => (lassoing = !lassoing), "Lasso");
  const names = toggle("Names of the groups on the map", true, () => { naming = !naming; draw(); return naming; }, "Names");
  const all = node("button", { title: "All points, groups and names; ends the search", onclick: () => { view = null; hidden = new Set(); search.value = ""; find(); refresh(); } }, "Show all");
  const none = node("button", { onclick: () => select([]) }, "Clear selection");
  const toPlaced = node("button", { onclick: () => { hidden.delete("(placed)"); zoomTo(model.get("placed")); refresh(); } }, "Zoom to placed");
  const count = node("span", { class: "rk-faint", role: "status" });
  const legend = node("div", { class: "rk-legend", role: "group", "aria-label": "Groups" });
  const card = node("div", { class: "rk-card" });
  const keys = { selected: "selected", found: "found by name", placed: "placed", near: "under the pointer" };
  const key = node("div", { class: "rk-row rk-key rk-faint" }, ...Object.entries(keys).map(([kind, text]) => node("span", { "data-kind": kind }, node("i"), text)),
    node("span", {}, "drag: move · Shift and drag: loop · click the map, then the wheel zooms"));
  const text = node("textarea", { placeholder: "new sequences, plain or FASTA, to place on this map", "aria-label": "New sequences" });
  text.addEventListener("keydown", event => event.stopPropagation());
  const message = node("span", { role: "alert" });
  const place = node("button", { onclick: () => { tell({ text: "waiting for the kernel …", busy: true }); model.send({ do: "place", text: text.value }); } }, "Place");
  const placing = node("div", {}, text, node("div", { class: "rk-row" }, place));
  const root = node("div", { class: "rk-explorer" }, node("div", { class: "rk-inner" },
    node("div", { class: "rk-row" }, node("label", {}, "Colour by ", color), search, mode, names, all, toPlaced, none, count),
    node("div", { class: "rk-main" }, node("div", {}, canvas, key), node("div", { class: "rk-side" }, legend, card)), placing, message));
  el.append(root);

  const groups = () => model.get("groups");
  const ink = () => getComputedStyle(root).color;
  const isDark = () => { const [r, g, b] = (ink().match(/[\d.]+/g) ?? [0, 0, 0]).map(Number); return 0.3 * r + 0.59 * g + 0.11 * b > 128; };
  const visible = color => (!color ? PLACED : color === "#000000" && isDark() ? ink() : color);
  const groupColor = k => visible(groups().colors[k]);
  const fill = k => {
    const g = groups();
    if (!codes.length || Number.isNaN(codes[k])) return NO_NUMBER;
    return g.labels ? groupColor(codes[k]) : viridis((codes[k] - g.low) / (g.high - g.low || 1));
  };
  const onMap = k => Number.isFinite(x[k]) && Number.isFinite(y[k]);
  const shown = k => onMap(k) && !(groups().labels && hidden.has(groups().labels[codes[k]]));
  const rows = () => [...x.keys()].filter(shown);

  function load() {
    [x, y, codes] = ["x", "y", "codes"].map(key => floats(model.get(key)));
    const { labels = [], markers = [] } = groups();
    const path = Object.fromEntries(Object.entries(MARKERS).map(([mark, d]) => [mark, new Path2D(d)]));
    paths = labels.length ? markers.map(mark => path[mark]) : [path.o];
    const members = labels.map(() => []);
    if (labels.length) for (const k of x.keys()) if (onMap(k)) members[codes[k]].push(k);
    middles = members.map(some => {
      if (!some.length) return -1;
      const mx = median(some.map(k => x[k])), my = median(some.map(k => y[k]));
      return some.reduce((best, k) => (Math.hypot(x[k] - mx, y[k] - my) < Math.hypot(x[best] - mx, y[best] - my) ? k : best));
    });
    color.replaceChildren(...model.get("columns").map(name => node("option", { value: name }, name)));
    color.value = model.get("color");
    color.parentElement.style.display = model.get("columns").length ? "" : "none";
    placing.style.display = model.get("can_place") ? "" : "none";
    names.style.display = labels.length ? "" : "none";
    fillLegend();
    find();
    const placed = model.get("placed");
    toPlaced.style.display = placed.length ? "" : "none";
    if (placed.length > placedBefore) zoomTo(placed.slice(placedBefore));
    placedBefore = placed.length;
    draw();
  }

  function fillLegend() {
    const { labels = [], counts = [], markers = [], note, low, high, missing } = groups();
    legendIsDark = isDark();
    legend.replaceChildren();
    if (note) legend.append(node("div", { class: "rk-faint" }, note));
    labels.forEach((label, k) => {
      const mark = shape("svg", { viewBox: "-1.6 -1.6 3.2 3.2", "aria-hidden": "true" });
      shape("path", { d: MARKERS[markers[k]], fill: groupColor(k) }, mark);
      const entry = node("button", { "aria-pressed": String(!hidden.has(label)), title: `${label}. Click: show or hide; double click: this group alone, or all again` }, mark, node("span", {}, `${label} (${counts[k]})`));
      entry.addEventListener("click", () => { hidden.has(label) ? hidden.delete(label) : hidden.add(label); refresh(); });
      entry.addEventListener("dblclick", () => {
        const others = labels.filter(other => other !== label), alone = others.every(other => hidden.has(other));
        hidden = new Set(alone ? [] : others);
        refresh();
      });
      legend.append(entry);
    });
    if (low == null) return;
    const stops = [...Array(11).keys()].map(k => viridis(k / 10)).join(",");
    const bar = node("div", { class: "rk-bar", role: "img", "aria-label": `Colours from ${three(low)}, dark, to ${three(high)}, light` });
    bar.style.background = `linear-gradient(to right, ${stops})`;
    legend.append(node("div", {}, model.get("color")), bar, node("div", { class: "rk-ticks" }, ...[low, (low + high) / 2, high].map(value => node("span", {}, three(value)))));
    if (missing) legend.append(node("div", { class: "rk-faint" }, `grey: ${missing} without a number`));
  }
  const refresh = () => { const { labels = [] } = groups(); legend.querySelectorAll("button").forEach((entry, k) => entry.setAttribute("aria-pressed", String(!hidden.has(labels[k])))); draw(); };

  function find() {
    const wanted = search.value.trim().toLowerCase();
    found = new Set();
    if (wanted) model.get("names").forEach((name, k) => { if (name.toLowerCase().includes(wanted)) found.add(k); });
  }

  function bounds(some) {
    let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const k of some) if (onMap(k)) { x0 = Math.min(x0, x[k]); x1 = Math.max(x1, x[k]); y0 = Math.min(y0, y[k]); y1 = Math.max(y1, y[k]); }
    return x1 < x0 ? [0, 0, 0, 0] : [x0, x1, y0, y1];
  }
  function around([x0, x1, y0, y1], least = 0) {
    const width = canvas.clientWidth || 600, height = canvas.clientHeight || 500;
    const scale = 0.92 * Math.min(width / (Math.max(x1 - x0, least) || 1), height / (Math.max(y1 - y0, least) || 1));
    return { cx: (x0 + x1) / 2, cy: (y0 + y1) / 2, scale };
  }
  const fitted = () => (view ??= around(bounds(x.keys())));
  function zoomTo(some) {
    const [x0, x1, y0, y1] = bounds(x.keys());
    view = around(bounds(some), 0.4 * Math.max(x1 - x0, y1 - y0));
  }
  const screen = k => {
    const v = fitted();
    return [canvas.clientWidth / 2 + (x[k] - v.cx) * v.scale, canvas.clientHeight / 2 - (y[k] - v.cy) * v.scale];
  };

  function draw() {
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width) return;
    if (isDark() !== legendIsDark) fillLegend();
    const ratio = window.devicePixelRatio || 1, context = canvas.getContext("2d"), black = ink();
    canvas.width = width * ratio; canvas.height = height * ratio;
    const plain = () => context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const chosen = new Set(model.get("selected")), placed = new Set(model.get("placed"));
    const size = Math.max(2.2, Math.min(6, 160 / Math.sqrt(x.length || 1))), dim = found.size > 0, order = rows();
    const ring = (px, py, radius, style, line) => { plain(); context.strokeStyle = style; context.lineWidth = line; context.beginPath(); context.arc(px, py, radius, 0, 7); context.stroke(); };
    const rank = k => (placed.has(k) ? 3 : chosen.has(k) || k === near ? 2 : found.has(k) ? 1 : 0);
    const passes = [[], [], [], []];
    for (const k of order) passes[rank(k)].push(k);
    for (const k of passes.flat()) {
      const [px, py] = screen(k), large = placed.has(k) ? 1.5 * size : size;
      if (px < -20 || py < -20 || px > width + 20 || py > height + 20) continue;
      if (found.has(k)) { plain(); context.globalAlpha = 0.9; context.fillStyle = FOUND; context.beginPath(); context.arc(px, py, size + 4, 0, 7); context.fill(); }
      context.globalAlpha = dim && !found.has(k) && !placed.has(k) ? 0.15 : 0.85;
      context.fillStyle = fill(k);
      context.setTransform(ratio * large, 0, 0, ratio * large, ratio * px, ratio * py);
      context.fill(paths[groups().labels ? codes[k] : 0] ?? paths[0]);
      context.globalAlpha = 1;
      if (placed.has(k)) ring(px, py, large + 4, PLACED, 2.4);
      if (chosen.has(k)) ring(px, py, size + 2.5, black, 1.8);
      if (k === near) ring(px, py, size + 5, black, 0.8);
    }
    plain();
    drawLabels(context, width, height, placed);
    if (lasso) { context.strokeStyle = black; context.lineWidth = 1; context.setLineDash([4, 3]); context.beginPath(); lasso.forEach(([a, b], k) => (k ? context.lineTo(a, b) : context.moveTo(a, b))); context.closePath(); context.stroke(); context.setLineDash([]); }
    const away = [...found].filter(k => !shown(k)).length, there = { selected: chosen.size, found: found.size, placed: placed.size, near: near >= 0 };
    count.textContent = `${x.length} points, ${chosen.size} selected${search.value.trim() ? `, ${found.size} found${away ? ` (${away} hidden)` : ""}` : ""}`;
    key.querySelectorAll("[data-kind]").forEach(one => { one.style.display = there[one.dataset.kind] ? "" : "none"; });
  }

  function drawLabels(context, width, height, placed) {
    const { labels = [], colors = [] } = groups(), size = labels.length <= 12 ? 13 : 11, family = getComputedStyle(root).fontFamily, dark = isDark();
    context.font = `bold ${size}px ${family}`; context.textAlign = "center"; context.textBaseline = "middle"; context.lineJoin = "round";
    const wanted = [...placed].filter(shown).slice(0, 60).map(k => ({ name: short(model.get("names")[k]), anchor: screen(k), style: PLACED }));
    wanted.forEach(one => { one.anchor[1] -= 16; });
    if (naming) labels.forEach((label, k) => { if (middles[k] >= 0 && !hidden.has(label) && colors[k]) wanted.push({ name: short(label), anchor: screen(middles[k]), style: `color-mix(in srgb, ${groupColor(k)} 70%, ${dark ? "white" : "black"})` }); });
    for (const one of wanted) one.half = [context.measureText(one.name).width / 2 + 2, 0.6 * size];
    const back = getComputedStyle(root).backgroundColor, placedLabels = labelPlaces(wanted, width, height, size);
    for (const { x: lx, y: ly, anchor, leader, style } of placedLabels) if (leader) { context.strokeStyle = style; context.lineWidth = 0.7; context.beginPath(); context.moveTo(...anchor); context.lineTo(lx, ly); context.stroke(); }
    for (const { name, x: lx, y: ly, style } of placedLabels) {
      context.globalAlpha = 0.85; context.strokeStyle = back; context.lineWidth = 3; context.strokeText(name, lx, ly);
      context.globalAlpha = 1; context.fillStyle = style; context.fillText(name, lx, ly);
    }
  }

  function select(some) { model.set("selected", some); model.save_changes(); draw(); }

  function look(k) {
    if (k === near) return;
    near = k;
    if (k < 0) card.replaceChildren(); else card.replaceChildren(node("b", {}, model.get("names")[k]));
    draw();
    model.set("hovered", k); model.save_changes();
  }

  function detail() {
    const one = model.get("detail");
    if (!one.name || one.row !== near) return;
    card.replaceChildren(node("b", {}, one.name), node("div", { class: "rk-faint" }, `${one.length} nt`));
    for (const [key, value] of Object.entries(one.facts)) card.append(node("div", {}, `${key}: ${value}`));
    if (!one.fold) return;
    const { x: px, y: py, pairs, sequence } = one.fold, svg = shape("svg");
    const low = [Math.min(...px) - 1, Math.min(...py) - 1], high = [Math.max(...px) + 1, Math.max(...py) + 1];
    svg.setAttribute("viewBox", [...low, high[0] - low[0], high[1] - low[1]].join(" "));
    const add = (tag, attributes) => shape(tag, attributes, svg);
    add("polyline", { points: px.map((v, k) => `${v},${py[k]}`).join(" "), fill: "none", stroke: "#8c8c8c", "stroke-width": 0.2 });
    for (const [i, j] of pairs) add("line", { x1: px[i], y1: py[i], x2: px[j], y2: py[j], stroke: "currentColor", "stroke-width": 0.2 });
    for (let k = 0; k < px.length; k++) add("circle", { cx: px[k], cy: py[k], r: 0.42, fill: LETTERS[sequence[k]] ?? "#d0d0d0" });
    card.append(svg);
  }

  const at = event => { const r = canvas.getBoundingClientRect(); return [event.clientX - r.left - canvas.clientLeft, event.clientY - r.top - canvas.clientTop]; };
  const zoom = (factor, px, py) => {
    const v = fitted(), dx = px - canvas.clientWidth / 2, dy = canvas.clientHeight / 2 - py;
    v.cx += dx / v.scale - dx / (v.scale * factor); v.cy += dy / v.scale - dy / (v.scale * factor); v.scale *= factor;
    draw();
  };
  canvas.addEventListener("wheel", event => {
    if (!canvas.matches(":focus") && !event.ctrlKey) return;  // the notebook scrolls
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1 / 1.2 : 1.2, ...at(event));
  }, { passive: false });
  canvas.addEventListener("pointerdown", event => {
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    if (lassoing || event.shiftKey) lasso = [at(event)]; else drag = { from: at(event), moved: false };
  });
  canvas.addEventListener("pointermove", event => {
    const here = at(event);
    if (lasso) { lasso.push(here); draw(); return; }
    if (drag) {
      const [dx, dy] = [here[0] - drag.from[0], here[1] - drag.from[1]], v = fitted();
      if (!drag.moved && Math.hypot(dx, dy) < 4) return;
      v.cx -= dx / v.scale; v.cy += dy / v.scale;
      drag = { from: here, moved: true };
      draw();
      return;
    }
    let best = -1, least = 12;
    for (const k of rows()) { const [px, py] = screen(k), d = Math.hypot(px - here[0], py - here[1]); if (d < least) { least = d; best = k; } }
    look(best);
  });
  canvas.addEventListener("pointerup", () => {
    if (lasso) { const loop = lasso; lasso = null; if (loop.length > 2) select(rows().filter(k => inside(...screen(k), loop))); else draw(); }
    else if (drag && !drag.moved && near >= 0) { const chosen = new Set(model.get("selected")); chosen.has(near) ? chosen.delete(near) : chosen.add(near); select([...chosen]); }
    drag = null;
  });
  canvas.addEventListener("keydown", event => {
    const v = fitted(), step = 40 / v.scale;
    const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] }[event.key];
    if (move) { v.cx += move[0]; v.cy += move[1]; draw(); }
    else if (event.key === "+" || event.key === "=") zoom(1.3, canvas.clientWidth / 2, canvas.clientHeight / 2);
    else if (event.key === "-") zoom(1 / 1.3, canvas.clientWidth / 2, canvas.clientHeight / 2);
    else if (event.key === "Escape") canvas.blur();
    else return;
    event.preventDefault(); event.stopPropagation();
  });

  const tell = content => { message.textContent = content.text ?? ""; message.className = content.wrong ? "rk-wrong" : "rk-faint"; place.disabled = Boolean(content.busy); };
  const told = () => tell(model.get("message"));
  const recoloured = () => { hidden = new Set(); refresh(); };
  model.on("change:x change:y change:codes change:groups change:columns change:names change:placed", load);
  model.on("change:color", recoloured);
  model.on("change:selected", draw);
  model.on("change:detail", detail);
  model.on("change:message", told);
  let least = 0;
  const size = new ResizeObserver(() => {
    const now = Math.min(canvas.clientWidth, canvas.clientHeight);
    if (view && least && now) view.scale *= now / least;
    least = now || least;
    draw();
  });
  size.observe(canvas);
  const restyle = () => draw();
  const theme = new MutationObserver(restyle);
  theme.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "class"] });
  const preference = window.matchMedia("(prefers-color-scheme: dark)");
  preference.addEventListener("change", restyle);
  placedBefore = model.get("placed").length;
  load();
  told();
  return () => {
    size.disconnect();
    theme.disconnect();
    preference.removeEventListener("change", restyle);
    model.off("change:x change:y change:codes change:groups change:columns change:names change:placed", load);
    model.off("change:color", recoloured);
    model.off("change:selected", draw);
    model.off("change:detail", detail);
    model.off("change:message", told);
  };
}

export default { render };

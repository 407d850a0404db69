// The page's side of the embedding explorer (../explorer.py). Names from files only ever go through textContent.

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

function render({ model, el }) {
  let x, y, codes, hidden = new Set(), view = null, lasso = null, drag = null, lassoing = false, found = new Set(), near = -1;

  const canvas = node("canvas", { tabindex: "0", role: "img", "aria-label": "Map of embeddings; + and − zoom, arrow keys move" });
  const color = node("select", { "aria-label": "Colour by", onchange: () => { hidden = new Set(); model.set("color", color.value); model.save_changes(); } });
  const search = node("input", { type: "search", placeholder: "name contains …", "aria-label": "Search by name" });
  search.addEventListener("input", () => { find(); draw(); });
  search.addEventListener("keydown", event => { event.stopPropagation(); if (event.key === "Enter" && found.size) select([...found]); });
  const mode = node("button", { "aria-pressed": "false", title: "Draw a loop around points to select them; also with Shift", onclick: () => { lassoing = !lassoing; mode.setAttribute("aria-pressed", String(lassoing)); } }, "Lasso");
  const all = node("button", { onclick: () => { view = null; draw(); } }, "Show all");
  const none = node("button", { onclick: () => select([]) }, "Clear selection");
  const count = node("span", { class: "rk-faint", role: "status" });
  const legend = node("div", { class: "rk-legend", role: "group", "aria-label": "Groups" });
  const card = node("div", { class: "rk-card" });
  const text = node("textarea", { placeholder: "new sequences, plain or FASTA, to place on this map", "aria-label": "New sequences" });
  text.addEventListener("keydown", event => event.stopPropagation());
  const message = node("span", { role: "alert" });
  const placing = node("div", {}, text, node("div", { class: "rk-row" }, node("button", { onclick: () => model.send({ do: "place", text: text.value }) }, "Place"), message));
  const root = node("div", { class: "rk-explorer" },
    node("div", { class: "rk-row" }, node("label", {}, "Colour by ", color), search, mode, none, all, count),
    node("div", { class: "rk-main" }, canvas, node("div", { class: "rk-side" }, legend, card)), placing);
  el.append(root);

  const palette = () => model.get("palette");
  const groups = () => model.get("groups");
  const fill = k => {
    const g = groups();
    if (!codes.length || Number.isNaN(codes[k])) return "#999999";
    return g.labels ? palette()[codes[k] % palette().length] : viridis((codes[k] - g.low) / (g.high - g.low || 1));
  };
  const shown = k => !(groups().labels && hidden.has(codes[k]));

  function load() {
    [x, y, codes] = ["x", "y", "codes"].map(key => floats(model.get(key)));
    color.replaceChildren(...model.get("columns").map(name => node("option", { value: name }, name)));
    color.value = model.get("color");
    color.parentElement.style.display = model.get("columns").length ? "" : "none";
    placing.style.display = model.get("can_place") ? "" : "none";
    legend.replaceChildren();
    const { labels = [], counts = [], low, high } = groups();
    labels.forEach((label, k) => {
      const mark = node("i");
      mark.style.background = palette()[k % palette().length];
      mark.style.borderRadius = Math.floor(k / palette().length) % 2 ? "0" : "50%";
      const entry = node("button", { "aria-pressed": String(!hidden.has(k)), title: "Click: show or hide; double click: this one alone" }, mark, node("span", {}, `${label} (${counts[k]})`));
      entry.addEventListener("click", () => { hidden.has(k) ? hidden.delete(k) : hidden.add(k); refresh(); });
      entry.addEventListener("dblclick", () => { hidden = new Set(labels.map((_, other) => other).filter(other => other !== k)); refresh(); });
      legend.append(entry);
    });
    if (low != null) legend.append(node("div", {}, `${low.toPrecision(3)} (dark) to ${high.toPrecision(3)} (light)`));
    find();
    draw();
  }
  const refresh = () => { [...legend.children].forEach((entry, k) => entry.setAttribute?.("aria-pressed", String(!hidden.has(k)))); draw(); };

  function find() {
    const wanted = search.value.trim().toLowerCase();
    found = new Set();
    if (wanted) model.get("names").forEach((name, k) => { if (name.toLowerCase().includes(wanted)) found.add(k); });
  }

  function fitted() {
    if (view) return view;
    let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let k = 0; k < x.length; k++) { x0 = Math.min(x0, x[k]); x1 = Math.max(x1, x[k]); y0 = Math.min(y0, y[k]); y1 = Math.max(y1, y[k]); }
    const r = canvas.getBoundingClientRect(), scale = 0.92 * Math.min((r.width || 600) / (x1 - x0 || 1), (r.height || 500) / (y1 - y0 || 1));
    return (view = { cx: (x0 + x1) / 2, cy: (y0 + y1) / 2, scale });
  }
  const screen = k => {
    const r = canvas.getBoundingClientRect(), v = fitted();
    return [r.width / 2 + (x[k] - v.cx) * v.scale, r.height / 2 - (y[k] - v.cy) * v.scale];
  };

  function draw() {
    const r = canvas.getBoundingClientRect();
    if (!r.width) return;
    const ratio = window.devicePixelRatio || 1, context = canvas.getContext("2d");
    canvas.width = r.width * ratio; canvas.height = r.height * ratio;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const ink = getComputedStyle(root).color, chosen = new Set(model.get("selected")), placed = new Set(model.get("placed"));
    const size = Math.max(2, Math.min(6, 160 / Math.sqrt(x.length || 1))), dim = found.size > 0;
    const order = [...x.keys()].filter(shown);
    for (const pass of [0, 1]) for (const k of order) {
      const special = chosen.has(k) || placed.has(k) || found.has(k) || k === near;
      if (Boolean(pass) !== special) continue;
      const [px, py] = screen(k);
      context.globalAlpha = dim && !found.has(k) ? 0.15 : 0.85;
      context.fillStyle = fill(k);
      context.beginPath();
      if (groups().labels && Math.floor(codes[k] / palette().length) % 2) context.rect(px - size * 0.9, py - size * 0.9, size * 1.8, size * 1.8);
      else context.arc(px, py, size, 0, 7);
      context.fill();
      if (special) {
        context.globalAlpha = 1;
        context.strokeStyle = placed.has(k) ? "#d55e00" : ink;
        context.lineWidth = 1.6;
        context.beginPath(); context.arc(px, py, size + 2.5, 0, 7); context.stroke();
      }
    }
    context.globalAlpha = 1;
    if (lasso) { context.strokeStyle = ink; context.setLineDash([4, 3]); context.beginPath(); lasso.forEach(([a, b], k) => (k ? context.lineTo(a, b) : context.moveTo(a, b))); context.closePath(); context.stroke(); context.setLineDash([]); }
    count.textContent = `${x.length} points, ${chosen.size} selected${search.value.trim() ? `, ${found.size} found` : ""}`;
  }

  function select(rows) { model.set("selected", rows); model.save_changes(); draw(); }

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

  const at = event => { const r = canvas.getBoundingClientRect(); return [event.clientX - r.left, event.clientY - r.top]; };
  const zoom = (factor, px, py) => {
    const r = canvas.getBoundingClientRect(), v = fitted(), dx = px - r.width / 2, dy = r.height / 2 - py;
    v.cx += dx / v.scale - dx / (v.scale * factor); v.cy += dy / v.scale - dy / (v.scale * factor); v.scale *= factor;
    draw();
  };
  canvas.addEventListener("wheel", event => { event.preventDefault(); zoom(event.deltaY > 0 ? 1 / 1.2 : 1.2, ...at(event)); }, { passive: false });
  canvas.addEventListener("pointerdown", event => {
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
    for (let k = 0; k < x.length; k++) { if (!shown(k)) continue; const [px, py] = screen(k), d = Math.hypot(px - here[0], py - here[1]); if (d < least) { least = d; best = k; } }
    look(best);
  });
  canvas.addEventListener("pointerup", () => {
    if (lasso) { const loop = lasso; lasso = null; if (loop.length > 2) select([...x.keys()].filter(k => shown(k) && inside(...screen(k), loop))); else draw(); }
    else if (drag && !drag.moved && near >= 0) { const chosen = new Set(model.get("selected")); chosen.has(near) ? chosen.delete(near) : chosen.add(near); select([...chosen]); }
    drag = null;
  });
  canvas.addEventListener("keydown", event => {
    const r = canvas.getBoundingClientRect(), v = fitted(), step = 40 / v.scale;
    const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] }[event.key];
    if (move) { v.cx += move[0]; v.cy += move[1]; draw(); }
    else if (event.key === "+" || event.key === "=") zoom(1.3, r.width / 2, r.height / 2);
    else if (event.key === "-") zoom(1 / 1.3, r.width / 2, r.height / 2);
    else return;
    event.preventDefault(); event.stopPropagation();
  });

  const told = () => { const content = model.get("message"); message.textContent = content.text ?? ""; message.className = content.wrong ? "rk-wrong" : "rk-faint"; };
  model.on("change:x change:y change:codes change:groups change:columns change:names", load);
  model.on("change:selected", draw);
  model.on("change:detail", detail);
  model.on("change:message", told);
  const size = new ResizeObserver(draw);
  size.observe(canvas);
  load();
  told();
  return () => size.disconnect();
}

export default { render };

// The page's side of the folding studio (../folding_studio.py): shows what Python sends, reports what a user does.
// Text of a user, such as names from FASTA, only ever goes through textContent.

const COLORS = { pair: "currentColor", crossing: "#d55e00", both: "#009e73", own: "#d55e00", other: "#0072b2" };

const METHODS = {
  default: ["default", "As the model's file says"],
  alone: ["model alone", "The same decoding, without the energy model"],
  paper: ["as in the paper", "The model's probabilities, decoded greedily above a threshold"],
};
const KNOTS = { strong: "Helices of 3 pairs or more, each above 0.25", all: "Helices of 2 pairs or more, each above 0.15", none: "Nested pairs only" };

// Lightness falls evenly from white, as in the library's figures.
const shade = ramp([[255, 255, 255], [191, 224, 242], [125, 187, 227], [62, 144, 200], [15, 100, 159], [4, 64, 110], [0, 29, 61]]);

// First letter that no model knows: {offset, record, position, letter, before, after}; or null.
function wrongLetter(text, known) {
  let offset = 0, record = "sequence", position = 0;
  for (const line of text.split("\n")) {
    if (line.startsWith(">")) {
      record = line.slice(1).trim().split(/\s+/)[0] || "a record without a name";
      position = 0;
    } else {
      for (let k = 0; k < line.length; k++) {
        if (/[\s\d]/.test(line[k])) continue;
        position++;
        if (!known.has(line[k].toUpperCase()))
          return { offset: offset + k, record, position, letter: line[k], before: line.slice(Math.max(0, k - 12), k), after: line.slice(k + 1, k + 13) };
      }
    }
    offset += line.length + 1;
  }
  return null;
}

function countLetters(text) {
  const lines = text.split("\n");
  const records = lines.filter(line => line.startsWith(">")).length;
  const letters = lines.filter(line => !line.startsWith(">")).join("").replace(/[\s\d]/g, "").length;
  return [records || (letters ? 1 : 0), letters];
}

// Wheel and drag move what an svg shows; frame() says what all of it is.
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
    event.preventDefault();
    const [x, y] = place(event);
    zoom(event.deltaY > 0 ? 1.15 : 1 / 1.15, x, y);
  }, { passive: false });
  svg.addEventListener("pointerdown", event => { drag = [event.clientX, event.clientY, false]; });
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
  return { zoom, fit, frame: whole => { box = whole; fit(); }, dragged: () => Boolean(drag?.[2]) };
}

function render({ model, el }) {
  const known = new Set(model.get("letters"));
  const say = content => model.send(content);
  const save = (key, value) => { model.set(key, value); model.save_changes(); };
  let hover = null, chosen = [], colorBy = "letter", compareWith = "none", framed = null, marks = {}, timer = 0;

  // Controls
  const text = node("textarea", { "aria-label": "Sequence or FASTA", placeholder: "Paste a sequence, or FASTA with one record or many", spellcheck: "false" });
  const check = node("div", { class: "rk-check", role: "status" });
  const go = node("button", { class: "rk-main", onclick: () => { flush(); say({ do: "fold" }); } }, "Fold");
  const cancel = node("button", { onclick: () => say({ do: "cancel" }) }, "Cancel");
  const record = node("select", { "aria-label": "Record", onchange: () => save("record", record.selectedIndex) });
  const recordLabel = node("label", {}, "Record ", record);
  const threshold = node("input", { type: "range", min: "0.01", max: "0.99", step: "0.01", "aria-label": "Threshold" });
  const thresholdText = node("output");
  threshold.addEventListener("input", () => { thresholdText.textContent = Number(threshold.value).toFixed(2); save("threshold", Number(threshold.value)); });
  const tuned = node("button", { title: "The threshold that was tuned with the model", onclick: () => save("threshold", model.get("tuned")) }, "tuned");
  const thresholdLabel = node("label", {}, "Threshold ", threshold, thresholdText);
  const method = node("select", { "aria-label": "Method", onchange: () => save("method", method.value) },
    ...model.get("methods").map(name => node("option", { value: name, title: METHODS[name][1] }, METHODS[name][0])));
  const methodLabel = node("label", {}, "Method ", method);
  const gamma = node("input", { type: "range", min: "0.5", max: "8", step: "0.1", "aria-label": "γ: weight of pairs", title: "Weight of pairs in maximum expected accuracy" });
  const gammaText = node("output");
  gamma.addEventListener("input", () => { gammaText.textContent = `γ ${Number(gamma.value)}`; save("gamma", Number(gamma.value)); });
  const gammaLabel = node("label", {}, "fewer ", gamma, " more pairs ", gammaText);
  const ownGamma = node("button", { title: "The γ that was fitted with the model", onclick: () => save("gamma", null) }, "model's");
  const knots = node("select", { "aria-label": "Allow pseudoknots", onchange: () => save("pseudoknots", knots.value) },
    ...Object.entries(KNOTS).map(([value, title]) => node("option", { value, title }, value)));
  const knotsLabel = node("label", {}, "Allow pseudoknots ", knots);
  const canonical = node("input", { type: "checkbox", onchange: () => save("canonical_only", canonical.checked) });
  const loop = node("input", { type: "number", min: "1", max: "30", step: "1", onchange: () => save("min_loop", Math.max(1, Math.min(30, Math.round(Number(loop.value)) || 4))) });
  const message = node("div", { class: "rk-message", role: "alert" });
  const bar = node("div", { class: "rk-bar" }, node("i"));

  // Views
  const svg = shape("svg", { tabindex: "0", role: "img", preserveAspectRatio: "xMidYMid meet" });
  const camera = pannable(svg);
  svg.setAttribute("aria-label", "Structure; arrow keys go along the sequence, Enter chooses a nucleotide");
  const tools = node("div", { class: "rk-tools" },
    node("button", { title: "Zoom in", "aria-label": "Zoom in", onclick: () => camera.zoom(1 / 1.3) }, "+"),
    node("button", { title: "Zoom out", "aria-label": "Zoom out", onclick: () => camera.zoom(1.3) }, "−"),
    node("button", { title: "Show all", "aria-label": "Show all", onclick: () => camera.fit() }, "⤢"));
  const drawing = node("div", { class: "rk-panel rk-drawing" }, svg, tools);
  const arcs = shape("svg", { preserveAspectRatio: "none" });
  const arcTitle = node("span", { class: "rk-title" }, "arcs");
  const canvas = node("canvas", { "aria-label": "Pairing probabilities" });
  const mapTitle = node("span", { class: "rk-title" }, "probabilities");
  const views = node("div", { class: "rk-views" }, drawing,
    node("div", { class: "rk-panel rk-arcs" }, arcs, arcTitle), node("div", { class: "rk-panel rk-map" }, canvas, mapTitle));
  const color = node("select", { "aria-label": "Colours", onchange: () => { colorBy = color.value; draw(); } },
    node("option", { value: "letter" }, "nucleotide"), node("option", { value: "probability" }, "probability"), node("option", { value: "none" }, "none"));
  const compare = node("select", { "aria-label": "Compare with", onchange: () => { compareWith = compare.value; draw(); } });
  const status = node("span", { class: "rk-status", role: "status" });
  const strip = node("div", { class: "rk-strip", tabindex: "0", "aria-label": "Sequence and structure" });
  const scores = node("div", { class: "rk-row rk-scores" });

  // Constraints
  const first = node("input", { type: "number", min: "1", "aria-label": "First nucleotide" });
  const second = node("input", { type: "number", min: "1", "aria-label": "Second nucleotide" });
  const pair = () => [Number(first.value) - 1, Number(second.value) - 1];
  const constrain = kind => () => {
    const [i, j] = pair(), length = model.get("view").sequence?.length ?? 0;
    if (!Number.isInteger(i) || !Number.isInteger(j) || i < 0 || j < 0 || i >= length || j >= length || i === j)
      return show({ text: `choose two nucleotides between 1 and ${length}`, wrong: true });
    say({ do: kind, pair: [i, j] });
    chosen = [];
  };
  const wanted = node("div", { class: "rk-faint" });
  const constraints = node("div", { class: "rk-row" }, node("label", {}, "Nucleotides ", first, " – ", second),
    node("button", { onclick: constrain("force") }, "Force pair"), node("button", { onclick: constrain("forbid") }, "Forbid pair"),
    node("button", { onclick: () => { chosen = []; say({ do: "clear" }); } }, "Clear"), wanted);

  // Reference, files, code
  const reference = node("input", { type: "text", style: "flex: 1; min-width: 200px", "aria-label": "Reference dot-bracket", placeholder: "known structure in dot-bracket, to compare with" });
  reference.addEventListener("change", () => save("reference", reference.value));
  const files = node("div", { class: "rk-row" }, "Export ",
    ...model.get("formats").map(kind => node("button", { "data-kind": kind, onclick: () => say({ do: "export", kind }) }, kind.toUpperCase())));
  const code = node("div", { class: "rk-code", tabindex: "0", "aria-label": "Code for this view" });

  const results = node("div", {}, node("div", { class: "rk-row" }, node("label", {}, "Colours ", color), node("label", {}, "Compare with ", compare), status),
    views, strip, scores, constraints, node("div", { class: "rk-row" }, node("label", { style: "flex: 1" }, "Reference ", reference)), files,
    node("details", { open: true }, node("summary", {}, "Code for this view"), code));
  const root = node("div", { class: "rk-studio" }, text, check,
    node("div", { class: "rk-row" }, go, cancel, recordLabel, methodLabel, thresholdLabel, tuned, gammaLabel, ownGamma, knotsLabel,
      node("label", {}, canonical, "A-U, G-C, G-U only"), node("label", {}, "Least loop ", loop)), bar, message, results);
  el.append(root);

  function flush() { clearTimeout(timer); if (model.get("text") !== text.value) save("text", text.value); }
  text.addEventListener("input", () => { validate(); clearTimeout(timer); timer = setTimeout(flush, 400); });
  text.addEventListener("keydown", event => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); go.click(); } event.stopPropagation(); });

  function validate() {
    check.replaceChildren();
    const bad = wrongLetter(text.value, known), [records, letters] = countLetters(text.value);
    text.setAttribute("aria-invalid", bad ? "true" : "false");
    if (bad) {
      const jump = node("button", { onclick: () => { text.focus(); text.setSelectionRange(bad.offset, bad.offset + 1); } }, "show");
      check.append(node("span", { class: "rk-wrong" }, `${bad.record}, position ${bad.position}: `), node("code", {}, `${bad.before}`, node("mark", {}, bad.letter), `${bad.after}`), "&+".includes(bad.letter) ? " separates two strands: fold takes one RNA " : " is not a nucleotide code ", jump);
    } else if (letters) {
      check.append(node("span", { class: "rk-faint" }, `${records > 1 ? `${records} records, ` : ""}${letters} nt`));
    }
    go.disabled = Boolean(bad) || !letters || model.get("busy");
  }

  function show(content) {
    message.textContent = content.text ?? "";
    message.classList.toggle("rk-wrong", Boolean(content.wrong));
  }

  function controls() {
    if (document.activeElement !== text && text.value !== model.get("text")) text.value = model.get("text");
    if (document.activeElement !== reference) reference.value = model.get("reference");
    threshold.value = model.get("threshold");
    thresholdText.textContent = Number(model.get("threshold")).toFixed(2);
    const greedy = model.get("method") === "paper" || !model.get("methods").includes("default");
    for (const shown of [thresholdLabel, tuned]) shown.style.display = greedy ? "" : "none";
    for (const shown of [gammaLabel, ownGamma, knotsLabel]) shown.style.display = greedy ? "none" : "";
    methodLabel.style.display = model.get("methods").length > 1 ? "" : "none";
    method.value = model.get("method");
    const weight = model.get("gamma") ?? model.get("view").gamma;
    if (weight != null) gamma.value = weight;
    gammaText.textContent = weight == null ? "" : `γ ${Number(weight.toFixed(2))}`;
    ownGamma.disabled = model.get("gamma") == null;
    knots.value = model.get("pseudoknots");
    canonical.checked = model.get("canonical_only");
    loop.value = model.get("min_loop");
    const names = model.get("names");
    record.replaceChildren(...names.map(name => node("option", {}, name)));
    record.selectedIndex = model.get("record");
    recordLabel.style.display = names.length > 1 ? "" : "none";
    root.classList.toggle("rk-busy", model.get("busy"));
    cancel.disabled = !model.get("busy");
    const list = (kind, pairs) => pairs.map(([i, j]) => `${kind} ${i + 1}–${j + 1}`);
    wanted.textContent = [...list("forced", model.get("forced")), ...list("forbidden", model.get("forbidden"))].join(", ");
    show(model.get("message"));
    validate();
  }

  function partners(view) {
    const found = new Map();
    for (const [i, j, p] of view.pairs) { found.set(i, [j, p]); found.set(j, [i, p]); }
    return found;
  }

  function kindOf(i, j, other) { return other ? (other.has(`${i},${j}`) ? "both" : "own") : null; }

  function draw() {
    const view = model.get("view");
    results.style.display = view.sequence ? "" : "none";
    svg.replaceChildren(); arcs.replaceChildren(); marks = {};
    if (!view.sequence) return;
    const n = view.sequence.length, { x, y } = view, paired = partners(view);
    const names = ["none", ...Object.keys(view.compared)];
    if (!names.includes(compareWith)) compareWith = "none";
    compare.replaceChildren(...names.map(name => node("option", { value: name }, name)));
    compare.value = compareWith;
    const otherPairs = view.compared[compareWith]?.pairs ?? null;
    const other = otherPairs && new Set(otherPairs.map(([i, j]) => `${i},${j}`));
    const own = new Set(view.pairs.map(([i, j]) => `${i},${j}`));

    // Drawing
    const low = [Math.min(...x), Math.min(...y)], high = [Math.max(...x), Math.max(...y)];
    const box = [low[0] - 3, low[1] - 3, high[0] - low[0] + 6, high[1] - low[1] + 6];
    const layer = shape("g", {}, svg);
    shape("polyline", { points: x.map((v, k) => `${v},${y[k]}`).join(" "), fill: "none", stroke: "#8c8c8c", "stroke-width": 0.13 }, layer);
    const line = (i, j, straight, style) => {
      const [dx, dy] = [x[j] - x[i], y[j] - y[i]];
      const bend = straight ? "" : `Q ${(x[i] + x[j]) / 2 + 0.3 * dy} ${(y[i] + y[j]) / 2 - 0.3 * dx}`;
      return shape("path", { d: `M ${x[i]} ${y[i]} ${bend || "L"} ${x[j]} ${y[j]}`, fill: "none", "stroke-width": 0.16, ...style }, layer);
    };
    if (otherPairs) for (const [i, j] of otherPairs) if (!own.has(`${i},${j}`)) line(i, j, false, { stroke: COLORS.other, "stroke-dasharray": "0.4 0.25" });
    for (const [i, j, , straight] of view.pairs) line(i, j, straight, { stroke: COLORS[kindOf(i, j, other) ?? (straight ? "pair" : "crossing")] });
    const fill = k => colorBy === "letter" ? LETTERS[view.sequence[k]] ?? "#d0d0d0" : colorBy === "probability" && view.base_confidence.length ? viridis(view.base_confidence[k]) : "#f4f4f4";
    const bases = shape("g", { class: "rk-bases" }, svg);
    for (let k = 0; k < n; k++) {
      shape("circle", { cx: x[k], cy: y[k], r: 0.42, fill: fill(k), stroke: "#555", "stroke-width": colorBy === "none" ? 0.06 : 0, "data-base": k }, bases);
      if (n <= 1000) {
        const letter = shape("text", { x: x[k], y: y[k], "font-size": 0.55, class: "rk-letter" }, bases);
        letter.textContent = view.sequence[k];
        if (colorBy === "probability" && view.base_confidence[k] < 0.5) letter.style.fill = "#fff";
      }
      const every = n <= 150 ? 10 : n <= 300 ? 20 : n <= 1000 ? 50 : 200;
      if ((k + 1) % every === 0 || k === 0 || k === n - 1) {
        const [ax, ay] = [x[Math.max(0, k - 1)], y[Math.max(0, k - 1)]], [bx, by] = [x[Math.min(n - 1, k + 1)], y[Math.min(n - 1, k + 1)]];
        const size = Math.hypot(bx - ax, by - ay) || 1, out = [(by - ay) / size, -(bx - ax) / size];
        const end = k === 0 ? "5′" : k === n - 1 ? "3′" : String(k + 1);
        const number = shape("text", { x: x[k] + 1.3 * out[0], y: y[k] + 1.3 * out[1], "font-size": 0.8 * (n > 300 ? 1.5 : 1), "text-anchor": "middle", "dominant-baseline": "central" }, svg);
        number.textContent = end;
      }
    }
    marks.ring = shape("circle", { r: 0.6, fill: "none", stroke: COLORS.crossing, "stroke-width": 0.22, visibility: "hidden" }, svg);
    marks.ring2 = marks.ring.cloneNode(); svg.append(marks.ring2);
    marks.first = shape("circle", { r: 0.6, fill: "none", stroke: COLORS.other, "stroke-width": 0.22, visibility: "hidden" }, svg);
    marks.second = marks.first.cloneNode(); svg.append(marks.second);
    const seen = `${view.sequence} ${view.dot_bracket}`;
    if (framed !== seen) camera.frame(box);
    framed = seen;

    // Arcs: ours above, the other below
    const heights = view.pairs.concat(otherPairs ?? []).map(([i, j]) => j - i), tall = Math.max(1, ...heights) / 2;
    const down = otherPairs ? tall : 0;
    arcs.setAttribute("viewBox", `-0.5 ${-tall - 0.04 * n} ${n} ${tall + down + 0.08 * n}`);
    const arc = (i, j, up, stroke) => shape("path", { d: `M ${i} 0 A ${(j - i) / 2} ${(j - i) / 2} 0 0 ${up ? 1 : 0} ${j} 0`, fill: "none", stroke, "stroke-width": 1.2, "vector-effect": "non-scaling-stroke", "data-pair": `${i},${j}` }, arcs);
    for (const [i, j, , straight] of view.pairs) arc(i, j, true, COLORS[kindOf(i, j, other) ?? (straight ? "pair" : "crossing")]);
    if (otherPairs) for (const [i, j] of otherPairs) arc(i, j, false, own.has(`${i},${j}`) ? COLORS.both : COLORS.other);
    shape("line", { x1: 0, x2: n - 1, y1: 0, y2: 0, stroke: "#8c8c8c", "stroke-width": 1, "vector-effect": "non-scaling-stroke" }, arcs);
    marks.arc = shape("path", { fill: "none", stroke: COLORS.crossing, "stroke-width": 3, "vector-effect": "non-scaling-stroke", visibility: "hidden" }, arcs);
    marks.cursor = shape("line", { stroke: COLORS.crossing, "stroke-width": 1.5, "vector-effect": "non-scaling-stroke", visibility: "hidden", y1: -tall, y2: down }, arcs);
    arcTitle.textContent = otherPairs ? `arcs: above this, below ${compareWith}` : "arcs";
    mapTitle.textContent = otherPairs ? `probabilities; below: ${compareWith}` : "probabilities";

    map();
    numbers(view);
    highlight(hover);
  }

  function numbers(view) {
    scores.replaceChildren();
    const table = node("table", { class: "rk-table" });
    const row = (...cells) => table.append(node("tr", {}, ...cells.map(cell => node("td", {}, cell))));
    row(`${view.sequence.length} nt, ${view.pairs.length} pairs`, view.confidence == null ? "" : `expected F1 ${view.confidence.toFixed(2)}${view.guess ? ": this fold is a guess" : ""}`);
    if (view.method) row(view.method);
    for (const [name, one] of Object.entries(view.compared)) row(`beside ${name}`, `F1 ${one.f1.toFixed(2)}`, `precision ${one.precision.toFixed(2)}`, `recall ${one.recall.toFixed(2)}`);
    scores.append(table);
    code.textContent = view.code;
  }

  function map() {
    const view = model.get("view"), n = view.sequence.length, size = 500, context = canvas.getContext("2d");
    canvas.width = canvas.height = size;
    canvas.style.objectFit = "contain";
    context.fillStyle = "#fff";
    context.fillRect(0, 0, size, size);
    const cell = size / n, side = Math.max(cell, 1.5);
    const raw = model.get("cells");
    const cells = raw?.byteLength ? new Int32Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.byteLength)) : new Int32Array();
    for (let k = cells.length - 3; k >= 0; k -= 3) {
      context.fillStyle = shade(cells[k + 2] / 10000);
      context.fillRect(cells[k + 1] * cell, cells[k] * cell, side, side);
    }
    const below = view.compared[compareWith]?.pairs ?? view.pairs;
    context.fillStyle = view.compared[compareWith] ? COLORS.other : "#555";
    for (const [i, j] of below) context.fillRect(i * cell, j * cell, side, side);
    context.strokeStyle = "#8c8c8c";
    context.beginPath(); context.moveTo(0, 0); context.lineTo(size, size); context.stroke();
    if (hover != null) {
      context.strokeStyle = COLORS.crossing;
      context.beginPath();
      context.moveTo((hover + 0.5) * cell, 0); context.lineTo((hover + 0.5) * cell, size);
      context.moveTo(0, (hover + 0.5) * cell); context.lineTo(size, (hover + 0.5) * cell);
      context.stroke();
    }
  }

  function place(mark, view, k) {
    mark.setAttribute("visibility", k == null ? "hidden" : "visible");
    if (k != null) { mark.setAttribute("cx", view.x[k]); mark.setAttribute("cy", view.y[k]); }
  }

  // The same nucleotide and its partner, in all views
  function highlight(k) {
    const view = model.get("view");
    if (!view.sequence) return;
    if (k != null && k >= view.sequence.length) k = null;
    const changed = hover !== k;
    hover = k;
    const [j, p] = k == null ? [null, null] : partners(view).get(k) ?? [null, null];
    place(marks.ring, view, k); place(marks.ring2, view, j);
    place(marks.first, view, chosen[0]); place(marks.second, view, chosen[1]);
    marks.cursor.setAttribute("visibility", k == null ? "hidden" : "visible");
    if (k != null) { marks.cursor.setAttribute("x1", k); marks.cursor.setAttribute("x2", k); }
    marks.arc.setAttribute("visibility", j == null ? "hidden" : "visible");
    if (j != null) { const [a, b] = [Math.min(k, j), Math.max(k, j)]; marks.arc.setAttribute("d", `M ${a} 0 A ${(b - a) / 2} ${(b - a) / 2} 0 0 1 ${b} 0`); }
    const name = i => `${view.sequence[i]}${i + 1}`;
    status.textContent = k == null ? "" : j == null ? `${name(k)}, unpaired${view.base_confidence.length ? `, p ${view.base_confidence[k].toFixed(2)}` : ""}` : `${name(k)} – ${name(j)}${p == null ? "" : `, p ${p.toFixed(2)}`}`;
    strip.replaceChildren();
    for (const line of [view.sequence, view.dot_bracket]) {
      let at = 0;
      for (const i of [k, j].filter(i => i != null).sort((a, b) => a - b)) { strip.append(line.slice(at, i), node("b", {}, line[i])); at = i + 1; }
      strip.append(line.slice(at) + "\n");
    }
    if (changed) map();
  }

  function choose(k) {
    chosen = chosen.length === 1 && chosen[0] !== k ? [chosen[0], k] : [k];
    first.value = chosen[0] + 1;
    second.value = chosen.length > 1 ? chosen[1] + 1 : "";
    highlight(k);
  }

  const baseOf = event => event.target.dataset?.base;
  svg.addEventListener("pointerover", event => { if (baseOf(event) != null) highlight(Number(baseOf(event))); });
  svg.addEventListener("pointerleave", () => highlight(null));
  svg.addEventListener("click", event => { if (baseOf(event) != null && !camera.dragged()) choose(Number(baseOf(event))); });
  svg.addEventListener("keydown", event => {
      const n = model.get("view").sequence?.length ?? 0, move = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: 10, ArrowDown: -10 }[event.key];
      if (move && n) highlight(Math.max(0, Math.min(n - 1, hover == null ? 0 : hover + move)));
      else if (event.key === "Enter" && hover != null) choose(hover);
      else if (event.key === "Escape") { chosen = []; highlight(null); }
      else if (event.key === "+" || event.key === "=") camera.zoom(1 / 1.3);
      else if (event.key === "-") camera.zoom(1.3);
      else return;
      event.preventDefault(); event.stopPropagation();
    });

  arcs.addEventListener("pointermove", event => {
    const n = model.get("view").sequence?.length ?? 0, r = arcs.getBoundingClientRect();
    highlight(Math.max(0, Math.min(n - 1, Math.round((event.clientX - r.left) / r.width * n - 0.5))));
  });
  arcs.addEventListener("pointerleave", () => highlight(null));
  canvas.addEventListener("pointermove", event => {
    const n = model.get("view").sequence?.length ?? 0, r = canvas.getBoundingClientRect(), side = Math.min(r.width, r.height);
    const column = Math.floor((event.clientX - r.left - (r.width - side) / 2) / side * n), line = Math.floor((event.clientY - r.top - (r.height - side) / 2) / side * n);
    if (column < 0 || line < 0 || column >= n || line >= n) return highlight(null);
    highlight(partners(model.get("view")).has(column) ? column : line);
  });
  canvas.addEventListener("pointerleave", () => highlight(null));

  const received = (content, buffers) => {
    if (!content.file) return;
    const data = buffers[0], link = node("a", { download: content.file });
    link.href = URL.createObjectURL(new Blob([data], { type: content.type }));
    root.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 30_000);
  };
  const redraw = () => { controls(); draw(); };
  model.on("change:view change:cells", draw);
  model.on("change:text change:busy change:message change:names change:record change:view change:method change:threshold change:gamma change:pseudoknots change:canonical_only change:min_loop change:reference change:forced change:forbidden", controls);
  model.on("msg:custom", received);
  redraw();
  return () => {
    clearTimeout(timer);
    model.off("change:view change:cells", draw);
    model.off("msg:custom", received);
  };
}

export default { render };

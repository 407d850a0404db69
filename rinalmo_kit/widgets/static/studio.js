// The page's side of the folding studio (../folding_studio.py): shows what Python sends, reports what a user does.
// Text of a user, such as names from FASTA, only ever goes through textContent.

const METHODS = {
  default: ["default", "As the model's file says: its probabilities mixed with ViennaRNA's"],
  alone: ["model alone", "The same decoding, without the energy model"],
  paper: ["as in the paper", "The model's probabilities, decoded greedily above a threshold"],
};
const PANELS = { drawing: "drawing", arcs: "arcs", map: "probability map" };
const COLOURS = { nucleotide: "nucleotide", probability: "probability", elements: "structural element", none: "none" };
const known = name => name === "reference" ? "known structure" : name;

function render({ model, el }) {
  const letters = new Set(model.get("letters")), palette = model.get("palette");
  const say = content => model.send(content);
  const save = (key, value) => { model.set(key, value); model.save_changes(); };
  const options = (select, entries) => select.replaceChildren(...entries.map(([value, words, title]) => node("option", { value, title }, words)));
  const drop = (key, label, entries) => {
    const made = node("select", { "aria-label": label, onchange: () => save(key, made.value) });
    options(made, entries);
    return made;
  };
  let hover = null, chosen = [], asked = "", timer = 0, clock = 0, since = 0;

  // What is folded
  const text = node("textarea", { "aria-label": "Sequence or FASTA", placeholder: "Paste a sequence, or FASTA with one record or many", spellcheck: "false", rows: "3" });
  const check = node("div", { class: "rk-check", role: "status" });
  const go = node("button", { class: "rk-main", title: "Ctrl+Enter", onclick: () => fold() }, "Fold");
  const cancel = node("button", { onclick: () => say({ do: "cancel" }) }, "Cancel");
  const record = node("select", { "aria-label": "Record", onchange: () => save("record", record.selectedIndex) });
  const recordLabel = node("label", {}, "Record ", record);
  const examples = node("div", { class: "rk-row rk-examples" }, node("span", { class: "rk-faint" }, "Try"), ...Object.entries(model.get("examples")).map(([name, sequence]) =>
    node("button", { onclick: () => { text.value = `>${name.replace(/[^\w.-]+/g, "_").replace(/_$/, "")}\n${sequence}\n`; validate(); fold(); } }, name)));
  const message = node("div", { class: "rk-message", role: "alert" });
  const bar = node("div", { class: "rk-bar", role: "progressbar", "aria-label": "Progress of the fold" }, node("i"));

  // How it is decoded
  const knots = node("input", { type: "checkbox", role: "switch", onchange: () => save("pseudoknots", !knots.checked ? "none" : weak.checked ? "all" : "strong") });
  const knotsLabel = node("label", { title: "Helices that cross others" }, knots, "Allow pseudoknots");
  const weak = node("input", { type: "checkbox", onchange: () => save("pseudoknots", weak.checked ? "all" : "strong") });
  const weakLabel = node("label", { title: "Helices of 2 pairs or more above 0.15; otherwise of 3 pairs or more above 0.25" }, weak, "weak pseudoknots too");
  const loop = node("input", { type: "number", min: "0", max: "30", step: "1", "aria-label": "Minimum hairpin loop", onchange: () => save("min_loop", 1 + Math.max(0, Math.min(30, Number.isFinite(loop.valueAsNumber) ? Math.round(loop.valueAsNumber) : 3))) });
  const canonical = node("input", { type: "checkbox", onchange: () => save("canonical_only", canonical.checked) });
  const method = drop("method", "Method", model.get("methods").map(name => [name, ...METHODS[name]]));
  const methodLabel = node("label", {}, "Method ", method);
  const threshold = node("input", { type: "range", min: "0.01", max: "0.99", step: "0.01", "aria-label": "Threshold" });
  const thresholdText = node("output");
  threshold.addEventListener("input", () => { thresholdText.textContent = Number(threshold.value).toFixed(2); save("threshold", Number(threshold.value)); });
  const tuned = node("button", { title: "The threshold that was tuned with the model", onclick: () => save("threshold", model.get("tuned")) }, "tuned");
  const thresholdLabel = node("label", {}, "Threshold ", threshold, thresholdText);
  const gamma = node("input", { type: "range", min: "0.5", max: "8", step: "0.1", "aria-label": "γ: weight of pairs", title: "Weight of pairs in maximum expected accuracy" });
  const gammaText = node("output");
  gamma.addEventListener("input", () => { gammaText.textContent = `γ ${Number(gamma.value)}`; save("gamma", Number(gamma.value)); });
  const gammaLabel = node("label", {}, "fewer ", gamma, " more pairs ", gammaText);
  const ownGamma = node("button", { title: "The γ that was fitted with the model", onclick: () => save("gamma", null) }, "model's");
  const more = node("details", { class: "rk-more" }, node("summary", {}, "More: how it is decoded"),
    node("div", { class: "rk-row" }, methodLabel, thresholdLabel, tuned, gammaLabel, ownGamma),
    node("div", { class: "rk-row" }, weakLabel, node("label", { title: "Unpaired nucleotides in the smallest hairpin" }, "Minimum hairpin loop ", loop, " nt"), node("label", {}, canonical, "A-U, G-C and G-U pairs only")));

  // Pictures
  const drawn = () => model.get("view").x.length > 0;
  const drawing = structureDrawing(palette), arcs = arcDiagram(palette), map = probabilityMap(palette), strip = sequenceBlocks();
  const { svg, camera } = drawing;
  const button = (words, name, action) => node("button", { title: name, "aria-label": name, onclick: action }, words);
  const tools = node("div", { class: "rk-tools" }, button("+", "Zoom in", () => camera.zoom(1 / 1.3)), button("−", "Zoom out", () => camera.zoom(1.3)), button("⤢", "Show all", () => camera.fit()));
  const later = node("button", { class: "rk-later", onclick: () => save("panel", "drawing") }, "Show the drawing");
  const views = node("div", { class: "rk-views" },
    node("div", { class: "rk-panel rk-drawing" }, svg, tools, later, node("span", { class: "rk-hint" }, "wheel zooms; Esc gives it back to the page")),
    node("div", { class: "rk-panel rk-arcs" }, arcs.title, arcs.svg),
    node("div", { class: "rk-panel rk-map" }, map.title, map.canvas));
  const panel = drop("panel", "View", Object.entries(PANELS));
  const color = drop("color_by", "Colours", Object.entries(COLOURS));
  const compare = drop("compare", "Compare with", []);
  const status = node("span", { class: "rk-status", role: "status" });
  const key = node("div");
  const scores = node("div", { class: "rk-scores" });

  // Constraints
  const first = node("input", { type: "number", min: "1", "aria-label": "First nucleotide" });
  const second = node("input", { type: "number", min: "1", "aria-label": "Second nucleotide" });
  const constrain = kind => () => {
    asked = "pair";
    const [i, j] = [Number(first.value) - 1, Number(second.value) - 1], length = model.get("view").sequence?.length ?? 0;
    if (!Number.isInteger(i) || !Number.isInteger(j) || i < 0 || j < 0 || i >= length || j >= length || i === j)
      return show({ text: `choose two nucleotides between 1 and ${length}`, wrong: true });
    say({ do: kind, pair: [i, j] });
    chosen = [];
  };
  const wanted = node("span", { class: "rk-faint" }), beside = { pair: node("div", { class: "rk-wrong" }), reference: node("div", { class: "rk-wrong" }) };
  const constraints = node("div", { class: "rk-row" }, node("label", { title: "Or click two nucleotides of the drawing" }, "Nucleotides ", first, " – ", second),
    node("button", { onclick: constrain("force") }, "Force pair"), node("button", { onclick: constrain("forbid") }, "Forbid pair"),
    node("button", { onclick: () => { chosen = []; say({ do: "clear" }); } }, "Clear"), wanted);

  // Reference, files, code
  const reference = node("input", { type: "text", "aria-label": "Reference dot-bracket", placeholder: "dot-bracket to compare with", title: "It belongs to the sequence that is shown; another sequence has its own" });
  reference.addEventListener("change", () => { asked = "reference"; save("reference", reference.value); });
  const copy = node("button", { title: "Copy sequence and dot-bracket", onclick: () => {
    const view = model.get("view");
    navigator.clipboard?.writeText(`>${view.name}\n${view.sequence}\n${view.dot_bracket}\n`).then(() => show({ text: "Copied." }), () => show({ text: "the browser does not let a page copy", wrong: true }));
  } }, "Copy");
  const files = node("div", { class: "rk-row rk-files" }, "Export ",
    ...model.get("formats").map(kind => node("button", { "data-kind": kind, onclick: () => say({ do: "export", kind, window: camera.window(), state: now("panel", "color_by", "compare") }) }, kind.toUpperCase())), copy);
  const code = node("div", { class: "rk-code", tabindex: "0", "aria-label": "Code for this view" });

  const results = node("div", { class: "rk-results" },
    node("div", { class: "rk-row" }, node("label", {}, "View ", panel), node("label", {}, "Colours ", color), node("label", {}, "Compare with ", compare), knotsLabel, status),
    views, key, files, scores, strip.root, constraints, beside.pair,
    node("div", { class: "rk-row" }, node("label", { class: "rk-wide" }, "Known structure of this RNA, if there is one ", reference)), beside.reference, more,
    node("details", { open: true }, node("summary", {}, "Code for this view"), code));
  const root = node("div", { class: "rk-studio" }, node("div", { class: "rk-inside" },
    node("div", { class: "rk-input" }, text, node("div", { class: "rk-actions" }, node("div", { class: "rk-row" }, go, cancel), recordLabel)), node("div", { class: "rk-row rk-under" }, check, examples), bar, message, results));
  for (const one of root.querySelectorAll("input, textarea, .rk-drawing svg")) one.dataset.lmSuppressShortcuts = "true"; // keys are not JupyterLab's there
  for (const one of [reference, loop]) one.addEventListener("keydown", event => { if (event.key === "Enter") one.dispatchEvent(new Event("change")); });
  el.append(root);

  // Messages may overtake settings, so these go with them.
  const now = (...names) => Object.fromEntries(names.map(name => [name, model.get(name)]));
  function fold() { asked = ""; flush(); say({ do: "fold", state: now("text") }); }
  function flush() { clearTimeout(timer); if (model.get("text") !== text.value) save("text", text.value); }
  text.addEventListener("input", () => { validate(); clearTimeout(timer); timer = setTimeout(flush, 400); });
  text.addEventListener("keydown", event => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); go.click(); } event.stopPropagation(); });

  function validate() {
    check.replaceChildren();
    const bad = wrongLetter(text.value, letters), [records, count] = countLetters(text.value);
    text.setAttribute("aria-invalid", bad ? "true" : "false");
    if (bad) {
      const jump = node("button", { onclick: () => { text.focus(); text.setSelectionRange(bad.offset, bad.offset + 1); } }, "show");
      check.append(node("span", { class: "rk-wrong" }, `${bad.record}, position ${bad.position}: `), node("code", {}, `${bad.before}`, node("mark", {}, bad.letter), `${bad.after}`), "&+".includes(bad.letter) ? " separates two strands: fold takes one RNA " : " is not a nucleotide code ", jump);
    } else if (count) {
      const words = model.get("text") === text.value && model.get("expected").words;
      check.append(node("span", { class: "rk-faint" }, `${records > 1 ? `${records} records, ` : ""}${count.toLocaleString("en")} nt`), words ? `; folding takes about ${words}` : "");
    }
    go.disabled = Boolean(bad) || !count || model.get("busy");
  }

  function show(content) {
    message.textContent = content.text ?? "";
    message.classList.toggle("rk-wrong", Boolean(content.wrong));
    for (const [what, place] of Object.entries(beside)) place.textContent = content.wrong && what === asked ? content.text : ""; // where one looks
  }

  // Records that are done; of one, the share of the time that was estimated
  function progress() {
    const busy = model.get("busy"), seconds = model.get("expected").seconds ?? 0;
    root.classList.toggle("rk-busy", busy);
    if (!busy) { clearInterval(clock); clock = since = 0; bar.classList.remove("rk-known"); return; }
    since = since || Date.now();
    clock = clock || setInterval(progress, 250);
    const done = Math.max(model.get("progress"), seconds > 2 ? Math.min(0.95, (Date.now() - since) / 1000 / seconds) : 0);
    bar.classList.toggle("rk-known", done > 0);
    bar.firstChild.style.width = done > 0 ? `${100 * done}%` : "";
    if (done > 0) bar.setAttribute("aria-valuenow", Math.round(100 * done)); else bar.removeAttribute("aria-valuenow");
  }

  function controls() {
    if (document.activeElement !== text && text.value !== model.get("text")) text.value = model.get("text");
    if (document.activeElement !== reference) reference.value = model.get("reference");
    threshold.value = model.get("threshold");
    thresholdText.textContent = Number(model.get("threshold")).toFixed(2);
    const greedy = model.get("method") === "paper" || !model.get("methods").includes("default");
    for (const shown of [thresholdLabel, tuned]) shown.style.display = greedy ? "" : "none";
    for (const shown of [gammaLabel, ownGamma, knotsLabel, weakLabel]) shown.style.display = greedy ? "none" : "";
    methodLabel.style.display = model.get("methods").length > 1 ? "" : "none";
    method.value = model.get("method");
    const weight = model.get("gamma") ?? model.get("view").gamma;
    if (weight != null) gamma.value = weight;
    gammaText.textContent = weight == null ? "" : `γ ${Number(weight.toFixed(2))}`;
    ownGamma.disabled = model.get("gamma") == null;
    knots.checked = model.get("pseudoknots") !== "none";
    weak.disabled = !knots.checked;
    if (knots.checked) weak.checked = model.get("pseudoknots") === "all";
    canonical.checked = model.get("canonical_only");
    if (document.activeElement !== loop) loop.value = Math.max(0, model.get("min_loop") - 1);
    const names = model.get("names");
    options(record, names.map(name => [null, name]));
    record.selectedIndex = model.get("record");
    recordLabel.style.display = names.length > 1 ? "" : "none";
    cancel.disabled = !model.get("busy");
    const list = (kind, pairs) => pairs.map(([i, j]) => `${kind} ${i + 1}–${j + 1}`);
    wanted.textContent = [...list("forced", model.get("forced")), ...list("forbidden", model.get("forbidden"))].join(", ");
    panel.value = model.get("panel");
    color.value = model.get("color_by");
    show(model.get("message"));
    validate();
    progress();
  }

  function partners(view) {
    const found = new Map();
    for (const [i, j, p] of view.pairs) { found.set(i, [j, p]); found.set(j, [i, p]); }
    return found;
  }

  function draw() {
    const view = model.get("view");
    results.style.display = view.sequence ? "" : "none";
    if (!view.sequence) return;
    options(compare, ["none", ...Object.keys(view.compared)].map(name => [name, known(name)]));
    compare.value = view.compare;
    for (const one of color.options) one.disabled = one.value === "probability" && !view.base_confidence.length;
    views.dataset.panel = model.get("panel");
    later.style.display = drawn() ? "none" : "";
    tools.style.display = drawn() ? "" : "none";
    drawing.draw(view);
    strip.draw(view.sequence, view.dot_bracket);
    numbers(view);
    flat();
  }

  // What is drawn in pixels
  function flat() {
    const view = model.get("view");
    if (!view.sequence) return;
    const lettered = arcs.draw(view);
    key.replaceChildren(colourKey(view, palette, drawn(), lettered));
    map.draw(view, model.get("cells"));
    highlight(hover);
  }

  function numbers(view) {
    const line = (...parts) => node("span", {}, ...parts, " ");
    scores.replaceChildren(line(`${view.sequence.length.toLocaleString("en")} nt, ${view.pairs.length} pairs. `, node("span", { class: view.guess ? "rk-guess" : "" }, view.trust)));
    for (const [name, one] of Object.entries(view.compared))
      scores.append(line(`Agreement with ${name === "reference" ? "the known structure" : name}: F1 ${one.f1.toFixed(2)} (precision ${one.precision.toFixed(2)}, recall ${one.recall.toFixed(2)}).`));
    if (view.method) scores.append(node("div", { class: "rk-faint rk-method" }, view.method));
    code.textContent = view.code;
  }

  // The same nucleotide and its partner, in all views
  function highlight(k) {
    const view = model.get("view");
    if (!view.sequence) return;
    if (k != null && k >= view.sequence.length) k = null;
    hover = k;
    const [j, p] = k == null ? [null, null] : partners(view).get(k) ?? [null, null];
    if (drawn()) drawing.mark(view, k, j, chosen[0], chosen[1]);
    arcs.mark(k, j);
    map.mark(k);
    strip.mark([k, j].filter(i => i != null));
    const name = i => `${view.sequence[i]}${i + 1}`, probability = value => value == null ? "" : `, p ${value.toFixed(2)}`;
    const element = k != null && view.elements[k] ? `, ${view.elements[k]}` : "";
    status.textContent = k == null ? "" : (j == null ? `${name(k)}, unpaired${probability(view.base_confidence[k])}` : `${name(k)} – ${name(j)}${probability(p)}`) + element;
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
      else if (event.key === "Escape") { chosen = []; highlight(null); svg.blur(); }
      else if (event.key === "+" || event.key === "=") camera.zoom(1 / 1.3);
      else if (event.key === "-") camera.zoom(1.3);
      else return;
      event.preventDefault(); event.stopPropagation();
    });
  arcs.svg.addEventListener("pointermove", event => highlight(arcs.baseAt(event)));
  arcs.svg.addEventListener("pointerleave", () => highlight(null));
  map.canvas.addEventListener("pointermove", event => {
    const at = map.basesAt(event);
    highlight(at && (partners(model.get("view")).has(at[0]) ? at[0] : at[1]));
  });
  map.canvas.addEventListener("pointerleave", () => highlight(null));

  const received = (content, buffers) => {
    if (!content.file) return;
    const data = buffers[0], link = node("a", { download: content.file });
    link.href = URL.createObjectURL(new Blob([data], { type: content.type }));
    root.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 30_000);
  };
  const referred = () => { reference.value = model.get("reference"); };
  const settings = ["text", "busy", "message", "names", "record", "view", "method", "threshold", "gamma", "pseudoknots", "canonical_only", "min_loop",
    "reference", "forced", "forbidden", "panel", "color_by", "expected"].map(name => `change:${name}`).join(" ");
  model.on("change:view change:cells change:panel", draw);
  model.on(settings, controls);
  model.on("change:progress", progress);
  model.on("change:reference", referred);
  model.on("msg:custom", received);
  const size = new ResizeObserver(flat), theme = new MutationObserver(flat), preference = matchMedia("(prefers-color-scheme: dark)");
  size.observe(views);
  theme.observe(document.body, { attributes: true });
  preference.addEventListener("change", flat);
  controls();
  draw();
  return () => {
    clearTimeout(timer); clearInterval(clock);
    size.disconnect(); theme.disconnect(); preference.removeEventListener("change", flat);
    model.off("change:view change:cells change:panel", draw);
    model.off(settings, controls);
    model.off("change:progress", progress);
    model.off("change:reference", referred);
    model.off("msg:custom", received);
  };
}

export default { render };

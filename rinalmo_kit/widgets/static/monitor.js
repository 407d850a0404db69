// The page's side of the training monitor (../monitor.py).

const brief = value => (value === 0 ? "0" : Math.abs(value) < 1e-3 || Math.abs(value) >= 1e4 ? value.toExponential(1) : Number(value.toPrecision(3)).toString());

function chart({ name, color, steps, values }, end) {
  const svg = shape("svg"), width = 260, height = 120;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const add = (tag, attributes, text) => { const made = shape(tag, attributes, svg); if (text != null) made.textContent = text; };
  const low = Math.min(...values), high = Math.max(...values), last = Math.max(end, ...steps, 1);
  const px = step => 38 + (step / last) * (width - 44), py = value => 100 - ((value - low) / (high - low || 1)) * 90;
  add("path", { d: "M 38 8 V 100 H 254", fill: "none", stroke: "#8c8c8c", "stroke-width": 0.8 });
  add("polyline", { points: steps.map((s, k) => `${px(s)},${py(values[k])}`).join(" "), fill: "none", stroke: color, "stroke-width": 1.6 });
  if (values.length) add("circle", { cx: px(steps.at(-1)), cy: py(values.at(-1)), r: 2.4, fill: color });
  add("text", { x: 35, y: 14, "text-anchor": "end" }, brief(high));
  add("text", { x: 35, y: 102, "text-anchor": "end" }, brief(low));
  add("text", { x: 254, y: 114, "text-anchor": "end" }, `step ${last}`);
  return node("figure", {}, node("figcaption", {}, `${name}: ${values.length ? brief(values.at(-1)) : "–"}`), svg);
}

function render({ model, el }) {
  const title = node("b"), state = node("span", { role: "status" }), bar = node("progress", { "aria-label": "Steps done" });
  const stop = node("button", { title: "The run keeps a checkpoint and resumes when it is started again", onclick: () => model.send({ do: "stop" }) }, "Stop after this step");
  const message = node("span", { role: "alert" }), charts = node("div", { class: "rk-charts" });
  el.append(node("div", { class: "rk-monitor" }, node("div", { class: "rk-row" }, title, state, bar, stop, message), charts));
  const draw = () => {
    const steps = model.get("steps");
    title.textContent = model.get("title");
    state.textContent = steps ? `${model.get("state")}, step ${model.get("step")} of ${steps}` : model.get("state");
    bar.max = steps || 1;
    bar.value = model.get("step");
    stop.disabled = model.get("state") !== "running";
    message.textContent = model.get("message");
    charts.replaceChildren(...model.get("curves").map(curve => chart(curve, steps)));
  };
  model.on("change", draw);
  draw();
  return () => model.off("change", draw);
}

export default { render };

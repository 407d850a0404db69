// The page's side of the training monitor (../training_monitor.py).

const brief = value => (value === 0 ? "0" : Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5 ? value.toExponential(1) : Number(value.toPrecision(3)).toString());
const counted = step => step.toLocaleString("en-US");

// About four round numbers from low to high.
function ticks(low, high) {
  const rough = (high - low) / 3 || Math.abs(high) || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find(k => k * power >= rough), found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
}

function chart({ label, color, steps, values, level, level_label }, end, width) {
  const height = 190, left = 56, right = 10, top = 10, bottom = 38;
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `${label} by training step` });
  const add = (tag, attributes, text) => { const made = shape(tag, attributes, svg); if (text != null) made.textContent = text; };
  const all = level == null ? values : [...values, level];
  let low = Math.min(...all), high = Math.max(...all);
  if (!all.length) [low, high] = [0, 1];
  const spare = (high - low || Math.abs(high) || 1) * 0.06;
  [low, high] = [low < 0 ? low - spare : Math.max(0, low - spare), high + spare];
  const last = Math.max(end, ...steps, 1), floor = height - bottom;
  const px = step => left + (step / last) * (width - left - right), py = value => floor - ((value - low) / (high - low)) * (floor - top);
  for (const value of ticks(low, high)) {
    add("line", { x1: left, x2: width - right, y1: py(value), y2: py(value), class: "rk-grid" });
    add("text", { x: left - 6, y: py(value) + 4, "text-anchor": "end" }, brief(value));
  }
  for (const step of ticks(0, last).filter(Number.isInteger)) {
    add("line", { x1: px(step), x2: px(step), y1: floor, y2: floor + 4, class: "rk-axis" });
    add("text", { x: px(step), y: floor + 16, "text-anchor": step / last > 0.9 ? "end" : "middle" }, counted(step));
  }
  add("path", { d: `M ${left} ${top} V ${floor} H ${width - right}`, class: "rk-axis" });
  add("text", { x: (left + width - right) / 2, y: height - 5, "text-anchor": "middle" }, "training step");
  if (level != null) {
    add("line", { x1: left, x2: width - right, y1: py(level), y2: py(level), class: "rk-level" });
    add("text", { x: width - right, y: py(level) + 13, "text-anchor": "end" }, level_label);
  }
  if (values.length > 1) add("polyline", { points: steps.map((s, k) => `${px(s)},${py(values[k])}`).join(" "), fill: "none", stroke: color, "stroke-width": 1.6 });
  if (values.length) add("circle", { cx: px(steps.at(-1)), cy: py(values.at(-1)), r: 3, fill: color });
  return node("figure", {}, node("figcaption", {}, node("b", {}, label), values.length ? `, now ${brief(values.at(-1))}` : ""), svg);
}

function render({ model, el }) {
  const title = node("b"), state = node("span", { role: "status" }), bar = node("progress", { "aria-label": "Steps done" });
  const stop = node("button", { title: "The run keeps a checkpoint and resumes when it is started again", onclick: () => model.send({ do: "stop" }) }, "Stop after this step");
  const message = node("span", { role: "alert" }), charts = node("div", { class: "rk-charts" });
  const inner = node("div", { class: "rk-inner" }, node("div", { class: "rk-row" }, title, state, bar, stop, message), charts);
  el.append(node("div", { class: "rk-monitor" }, inner));
  const draw = () => {
    const steps = model.get("steps"), curves = model.get("curves"), room = charts.clientWidth || 600, gap = 14;
    title.textContent = model.get("title");
    state.textContent = steps ? `${model.get("state")}, step ${counted(model.get("step"))} of ${counted(steps)}` : model.get("state");
    bar.max = steps || 1;
    bar.value = model.get("step");
    stop.disabled = model.get("state") !== "running";
    message.textContent = model.get("message");
    const columns = Math.max(1, Math.min(curves.length, Math.floor(room / 280))), width = Math.floor((room - gap * (columns - 1)) / columns);
    charts.replaceChildren(...curves.map(curve => chart(curve, steps, width)));
  };
  model.on("change", draw);
  const size = new ResizeObserver(draw);
  size.observe(inner);
  draw();
  return () => { size.disconnect(); model.off("change", draw); };
}

export default { render };

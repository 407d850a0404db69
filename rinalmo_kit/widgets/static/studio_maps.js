// Arcs and the map of probabilities of the folding studio.

// Positions from 1 to write on an axis.
function axisPositions(n, room) {
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000].find(value => n / value <= Math.max(2, room / 45)) ?? 10000;
  const found = [1];
  for (let k = step; k <= n; k += step) if (k > 1 && (k - 1) / n * room > 18) found.push(k);
  return found;
}

function colors(hex) { return hex.map(one => [1, 3, 5].map(k => parseInt(one.slice(k, k + 2), 16))); }

// Arcs over the sequence; below it those of what is compared. draw() tells whether there is room for letters.
function arcDiagram(palette) {
  const svg = shape("svg", { role: "img", "aria-label": "Pairs as arcs" }), title = node("span", { class: "rk-title" });
  let marks = {}, scale = { left: 0, step: 1 }, paths = null;

  function draw(view) {
    svg.replaceChildren();
    const width = svg.clientWidth, height = svg.clientHeight, n = view.sequence?.length;
    if (!n || !width || !height) return false;
    const compared = view.compared[view.compare]?.pairs, letters = (width - 40) / n >= 7;
    const left = 22, step = (width - 2 * left) / n, foot = 18, band = letters ? 14 : ["probability", "elements"].includes(view.color_by) ? 8 : 2;
    scale = { left, step, n };
    const room = (height - foot - band - 6) / (compared ? 2 : 1), base = 4 + room, below = base + band;
    const longest = Math.max(1, ...view.pairs.map(([i, j]) => j - i), ...(compared ?? []).map(([i, j]) => j - i));
    const rise = Math.min(room / longest, step / 2), at = i => left + (i + 0.5) * step;
    const own = new Map(view.marks.map(([i, j, kind]) => [`${i},${j}`, kind]));
    paths = (i, j, up) => `M ${at(i)} ${up ? base : below} A ${(j - i) * step / 2} ${(j - i) * rise} 0 0 ${up ? 1 : 0} ${at(j)} ${up ? base : below}`;
    const arc = (i, j, up) => shape("path", { d: paths(i, j, up), fill: "none", stroke: palette[own.get(`${i},${j}`)] ?? "currentColor", "stroke-width": Math.max(0.6, Math.min(1.6, step / 3)), "data-pair": `${i},${j}` }, svg);
    for (const [i, j] of view.pairs) arc(i, j, true);
    for (const [i, j] of compared ?? []) arc(i, j, false);
    if (letters) {
      for (let k = 0; k < n; k++) {
        if (view.fills) shape("rect", { x: at(k) - step / 2 + 0.5, y: base + 1, width: step - 1, height: band - 2, fill: view.fills[k], rx: 2 }, svg);
        const letter = shape("text", { x: at(k), y: base + band / 2, "font-size": Math.min(11, 1.2 * step), class: "rk-letter" }, svg);
        letter.textContent = view.sequence[k];
        letter.style.fill = view.fills ? (isDark(view.fills[k]) ? "#fff" : "#222") : "currentColor";
      }
    } else if (band > 2 && view.fills) {
      for (let k = 0, from = 0; k < n; k++)
        if (view.fills[k] !== view.fills[k + 1]) { shape("rect", { x: at(from) - step / 2, y: base + 1, width: (k + 1 - from) * step, height: band - 2, fill: view.fills[k] }, svg); from = k + 1; }
    } else shape("line", { x1: left, x2: width - left, y1: base + 1, y2: base + 1, stroke: GREY, "stroke-width": 1 }, svg);
    const write = (text, x, y, look = {}) => { shape("text", { x, y, "font-size": 11, "text-anchor": "middle", ...look }, svg).textContent = text; };
    write("5′", left - 10, base + band / 2 + 4); write("3′", width - left + 10, base + band / 2 + 4);
    for (const k of axisPositions(n, width - 2 * left)) {
      shape("line", { x1: at(k - 1), x2: at(k - 1), y1: height - foot, y2: height - foot + 4, stroke: GREY }, svg);
      write(String(k), at(k - 1), height - 4, { class: "rk-tick" });
    }
    marks.arc = shape("path", { fill: "none", stroke: "currentColor", "stroke-width": 3.5, visibility: "hidden", "pointer-events": "none" }, svg);
    marks.cursor = shape("line", { stroke: "currentColor", "stroke-width": 1, "stroke-dasharray": "3 2", visibility: "hidden", y1: 4, y2: height - foot, "pointer-events": "none" }, svg);
    title.textContent = compared ? `arcs; below: ${view.compare === "reference" ? "known structure" : view.compare}` : "arcs";
    return letters;
  }

  function mark(k, j) {
    if (!marks.cursor) return;
    marks.cursor.setAttribute("visibility", k == null ? "hidden" : "visible");
    marks.arc.setAttribute("visibility", j == null ? "hidden" : "visible");
    const x = scale.left + (k + 0.5) * scale.step;
    if (k != null) { marks.cursor.setAttribute("x1", x); marks.cursor.setAttribute("x2", x); }
    if (j != null) marks.arc.setAttribute("d", paths(Math.min(k, j), Math.max(k, j), true));
  }
  const baseAt = event => Math.max(0, Math.min(scale.n - 1, Math.floor((event.clientX - svg.getBoundingClientRect().left - scale.left) / scale.step)));
  return { svg, title, draw, mark, baseAt };
}

// Pairing probabilities above the diagonal, pairs below it; in a dark theme from dark to light.
function probabilityMap(palette) {
  const canvas = node("canvas", { "aria-label": "Pairing probabilities" }), title = node("span", { class: "rk-title" });
  const light = colors(palette.probabilities), reversed = [...light].reverse();
  let place = { left: 0, top: 0, side: 1, n: 1 }, picture = null;

  function draw(view, raw) {
    const n = view.sequence?.length, width = canvas.clientWidth, height = canvas.clientHeight, sharp = window.devicePixelRatio || 1;
    if (!n || !width || !height) return;
    canvas.width = Math.round(width * sharp); canvas.height = Math.round(height * sharp);
    const context = canvas.getContext("2d"), style = getComputedStyle(canvas), back = style.getPropertyValue("background-color");
    context.scale(sharp, sharp);
    const dark = isDark(`#${(back.match(/\d+/g) ?? [255, 255, 255]).slice(0, 3).map(v => Number(v).toString(16).padStart(2, "0")).join("")}`);
    const shade = ramp(dark ? [back.match(/\d+/g).slice(0, 3).map(Number), ...reversed.slice(1)] : light);
    const side = Math.min(width - 44, height - 26), left = (width - side) / 2 + 12, top = 7, cell = side / n, dot = Math.max(cell, 1.5);
    place = { left, top, side, n };
    context.fillStyle = shade(0);
    context.fillRect(left, top, side, side);
    const cells = raw?.byteLength ? new Int32Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.byteLength)) : new Int32Array();
    for (let k = cells.length - 3; k >= 0; k -= 3) {
      context.fillStyle = shade(cells[k + 2] / 10000);
      context.fillRect(left + cells[k + 1] * cell, top + cells[k] * cell, dot, dot);
    }
    const other = view.compared[view.compare]?.pairs;
    context.fillStyle = context.strokeStyle = style.color;
    for (const [i, j] of other ?? view.pairs) context.fillRect(left + i * cell, top + j * cell, dot, dot);
    context.font = `10px ${style.fontFamily}`;
    for (const k of axisPositions(n, side)) {
      const at = (k - 0.5) * cell;
      context.textAlign = "center"; context.textBaseline = "top"; context.fillText(String(k), left + at, top + side + 4);
      context.textAlign = "right"; context.textBaseline = "middle"; context.fillText(String(k), left - 4, top + at);
    }
    context.lineWidth = 1;
    context.strokeStyle = GREY;
    context.strokeRect(left, top, side, side);
    context.beginPath(); context.moveTo(left, top); context.lineTo(left + side, top + side); context.stroke();
    const stops = Array.from({ length: 9 }, (_, k) => shade(k / 8)), below = other ? (view.compare === "reference" ? "known structure" : view.compare) : "this fold";
    title.replaceChildren(colourScale(stops, "probability"), `; below: ${below}`);
    picture = context.getImageData(0, 0, canvas.width, canvas.height);
  }

  function mark(hover) {
    if (!picture) return;
    const context = canvas.getContext("2d"), { left, top, side, n } = place, at = (hover + 0.5) * side / n;
    context.putImageData(picture, 0, 0);
    if (hover == null) return;
    context.strokeStyle = getComputedStyle(canvas).color;
    context.setLineDash([3, 2]);
    context.beginPath();
    context.moveTo(left + at, top); context.lineTo(left + at, top + side);
    context.moveTo(left, top + at); context.lineTo(left + side, top + at);
    context.stroke();
    context.setLineDash([]);
  }

  // Column and row under the pointer; null outside.
  function basesAt(event) {
    const r = canvas.getBoundingClientRect(), at = value => Math.floor(value / place.side * place.n);
    const column = at(event.clientX - r.left - place.left), row = at(event.clientY - r.top - place.top);
    return Math.min(column, row) < 0 || Math.max(column, row) >= place.n ? null : [column, row];
  }
  return { canvas, title, draw, mark, basesAt };
}

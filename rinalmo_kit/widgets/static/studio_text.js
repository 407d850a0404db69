// Text of the folding studio: what is typed, and the sequence with its brackets in lines of 60.
// Text of a user, such as names from FASTA, only ever goes through textContent.

const PER_LINE = 60;

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

// Sequence over brackets, in blocks; mark() emphasises positions in both.
function sequenceBlocks() {
  const root = node("div", { class: "rk-strip", tabindex: "0", "aria-label": "Sequence and structure" });
  let lines = [], marked = [];
  const write = (line, at) => {
    const { element, text } = line;
    element.replaceChildren();
    let done = 0;
    for (const i of at) { element.append(text.slice(done, i), node("b", {}, text[i])); done = i + 1; }
    element.append(text.slice(done));
  };
  return {
    root,
    draw(sequence, brackets) {
      lines = []; marked = [];
      root.replaceChildren();
      for (let from = 0; from < sequence.length; from += PER_LINE) {
        const parts = [sequence, brackets].map(text => text.slice(from, from + PER_LINE));
        const block = parts.map((text, row) => ({ element: node("span", { class: row ? "rk-brackets" : "rk-letters" }), text }));
        block.forEach(line => write(line, []));
        lines.push(block);
        const number = value => node("span", { class: "rk-number" }, value);
        root.append(node("div", { class: "rk-block" }, number(String(from + 1)), block[0].element, number(String(Math.min(from + PER_LINE, sequence.length))), block[1].element));
      }
    },
    mark(positions) {
      for (const k of new Set(marked)) lines[k]?.forEach(line => write(line, []));
      marked = positions.map(i => Math.floor(i / PER_LINE));
      for (const k of new Set(marked)) {
        const inside = positions.filter(i => Math.floor(i / PER_LINE) === k).map(i => i % PER_LINE).sort((a, b) => a - b);
        lines[k]?.forEach(line => write(line, inside));
      }
    },
  };
}

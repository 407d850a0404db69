// Columns of words are set to the left in tables of notebooks, as in print; pandas sets all to the right.
document.addEventListener("DOMContentLoaded", () => {
  const number = /^[−+-]?[\d.,]+( ?[×%a-zA-Zµ/]*)?$|^–?$|^[−+-]?[\d.]+ to [−+-]?[\d.]+$|^nan$/i;
  for (const table of document.querySelectorAll("table.dataframe")) {
    const rows = [...table.querySelectorAll("tbody tr")];
    const heading = table.querySelector("thead tr:last-child");
    const cells = row => [...row.children].slice(-row.querySelectorAll("td").length);
    const width = Math.min(...rows.map(row => row.querySelectorAll("td").length));
    for (let column = 0; rows.length && column < width; column++) {
      const found = rows.map(row => cells(row)[column]);
      if (found.every(cell => number.test(cell.textContent.trim()))) continue;
      for (const cell of [...found, heading?.children[heading.children.length - width + column]]) cell?.classList.add("words");
    }
  }
});

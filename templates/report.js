
"use strict";
// Sorting: every heading button sorts its table; a second press turns the order round.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = heading.querySelector("button");
    button.addEventListener("click", () => {
      const numeric = button.dataset.sort === "number";
      // Names start at A, numbers at the largest.
      const first = numeric ? "descending" : "ascending";
      const second = numeric ? "ascending" : "descending";
      const order = heading.getAttribute("aria-sort") === first ? second : first;
      headings.forEach((other) => other.setAttribute("aria-sort", "none"));
      heading.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const value = (row) => row.cells[column].dataset.value;
      const compare = numeric
        ? (a, b) => sign * (Number(value(a)) - Number(value(b)))
        : (a, b) => sign * value(a).localeCompare(value(b), "en");
      body.append(...[...body.rows].sort(compare));
    });
  });
}
// Searching: rows whose text holds every word that was typed stay.
const search = document.getElementById("search");
const found = document.getElementById("found");
const rows = [...document.getElementById("profession-table").tBodies[0].rows];
const texts = new Map(rows.map((row) => [row, [...row.cells].filter((cell) => !cell.classList.contains("number")).map((cell) => cell.dataset.value).join(" ").toLowerCase()]));
const filter = () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    row.hidden = !words.every((word) => texts.get(row).includes(word));
    shown += row.hidden ? 0 : 1;
  }
  found.textContent = `${shown} of ${rows.length} professions`;
};
search.addEventListener("input", filter);
document.querySelector(".controls").hidden = false;
filter();

"use strict";
// Sorting: every heading button sorts its table; a second press turns the order round.
const empty = (text) => text === undefined || text === "";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = heading.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const numeric = button.dataset.sort === "number";
      const turned = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((other) => other.setAttribute("aria-sort", "none"));
      heading.setAttribute("aria-sort", turned ? "descending" : "ascending");
      const sign = turned ? -1 : 1;
      const value = (row) => row.cells[column].dataset.value;
      // What was not measured stands last, whichever way the rest goes.
      const compare = (a, b) => {
        const [one, two] = [value(a), value(b)];
        if (empty(one) || empty(two)) return Number(empty(one)) - Number(empty(two));
        return sign * (numeric ? Number(one) - Number(two) : one.localeCompare(two, "en"));
      };
      body.append(...[...body.rows].sort(compare));
    });
  });
}
// Filtering: rows whose text holds every word, of the kind that was chosen; their points with them.
const search = document.getElementById("search");
const kind = document.getElementById("kind");
const found = document.getElementById("found");
const rows = [...document.getElementById("models").tBodies[0].rows];
const filter = () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = new Set();
  for (const row of rows) {
    const fits = words.every((word) => row.dataset.text.toLowerCase().includes(word));
    row.hidden = !(fits && (kind.value === "all" || row.dataset.kind === kind.value));
    if (!row.hidden) shown.add(row.dataset.rank);
  }
  for (const other of document.querySelectorAll("[data-of]")) {
    const hidden = !other.dataset.of.split(" ").every((rank) => shown.has(rank));
    if (hidden) other.setAttribute("hidden", ""); else other.removeAttribute("hidden");
    if (other instanceof SVGElement) other.setAttribute("visibility", hidden ? "hidden" : "visible");
  }
  found.textContent = shown.size ? `${shown.size} of ${rows.length} models` : "No model fits; try fewer words.";
};
search.addEventListener("input", filter);
kind.addEventListener("change", filter);
// Columns: those whose heading holds what was typed, beside the models.
for (const field of document.querySelectorAll("[data-columns]")) {
  const table = document.getElementById(field.dataset.columns);
  field.addEventListener("input", () => {
    const wanted = field.value.trim().toLowerCase();
    const headings = [...table.tHead.rows[0].cells];
    const shown = headings.map((cell, place) => place === 0 || cell.textContent.toLowerCase().includes(wanted));
    for (const row of table.rows) [...row.cells].forEach((cell, place) => { cell.hidden = !shown[place]; });
  });
}
const measure = document.getElementById("measure");
if (measure) {
  const show = () => {
    for (const picture of document.querySelectorAll("[data-measure]")) picture.hidden = picture.dataset.measure !== measure.value;
  };
  measure.addEventListener("change", show);
  show();
}
for (const controls of document.querySelectorAll(".controls")) controls.hidden = false;
filter();

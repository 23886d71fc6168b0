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
const nothing = document.getElementById("nothing");
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
  nothing.hidden = shown > 0;
  nothing.textContent = shown ? "" : `No profession or group holds “${search.value.trim()}”. Shorten the search, or empty it to see all.`;
};
search.addEventListener("input", filter);
document.querySelector(".controls").hidden = false;
filter();
// Points and rows: a point shows a tip and leads to its row, a row marks its points.
const tip = document.getElementById("tip");
const marked = (row, here) => {
  for (const link of document.querySelectorAll(`a[href="#${row.id}"]`)) link.firstElementChild.classList.toggle("here", here);
};
for (const row of rows) {
  row.addEventListener("pointerenter", () => marked(row, true));
  row.addEventListener("pointerleave", () => marked(row, false));
  row.addEventListener("focusin", () => marked(row, true));
  row.addEventListener("focusout", () => marked(row, false));
}
for (const link of document.querySelectorAll(".scatter a")) {
  const point = link.firstElementChild;
  const text = point.textContent;
  point.replaceChildren(); // the browser's own tip would come late, beside ours
  point.dataset.tip = text;
  point.addEventListener("pointerenter", () => {
    tip.textContent = text;
    tip.hidden = false;
    const place = point.getBoundingClientRect();
    const left = Math.min(place.right + 8, document.documentElement.clientWidth - tip.offsetWidth - 8);
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${Math.max(8, place.top - tip.offsetHeight - 6)}px`;
  });
  point.addEventListener("pointerleave", () => (tip.hidden = true));
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const row = document.getElementById(link.getAttribute("href").slice(1));
    if (row.hidden) {
      search.value = "";
      filter();
    }
    for (const other of rows) other.classList.toggle("here", other === row);
    row.scrollIntoView({ block: "center" });
    row.querySelector("button")?.focus({ preventScroll: true });
  });
}
addEventListener("scroll", () => (tip.hidden = true), { passive: true });
// The drawer of a profession: its prompts with the probabilities of both genders.
const drawer = document.getElementById("drawer");
if (drawer) {
  const drawers = JSON.parse(document.getElementById("drawers").textContent);
  const make = (tag, text, kind) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };
  const percent = (share) => `${share && share < 0.00995 ? (100 * share).toPrecision(2) : (100 * share).toFixed(1)}%`;
  const heading = (text, number) => {
    const made = make("th", text, number ? "number" : undefined);
    made.scope = "col";
    return made;
  };
  const odds = (prompt) => {
    const table = make("table", undefined, "odds");
    const head = table.createTHead().insertRow();
    head.append(make("td"), heading("P(female)", true), heading("P(male)", true), heading("women", true), heading("FB", true));
    const body = table.createTBody();
    prompt.sides.forEach(([female, male, share], side) => {
      const row = body.insertRow();
      const name = make("th", prompt.sides.length === 1 ? "model" : side ? "after" : "before");
      name.scope = "row";
      const fb = (100 * Math.abs(share - prompt.reference)).toFixed(1);
      row.append(name, ...[percent(female), percent(male), percent(share), fb].map((text) => make("td", text, "number")));
    });
    return table;
  };
  const written = (cell) => {
    const interval = cell.querySelector(".interval");
    const text = cell.textContent.trim().replace(/\s+/g, " ");
    return interval ? text.replace(/ (.*)$/, " ($1)") : text;
  };
  let opener;
  rows.forEach((row, number) => {
    row.querySelector(".open")?.addEventListener("click", () => {
      const prompts = drawers[number];
      const titles = [...row.closest("table").tHead.rows[0].cells].map((cell) => cell.textContent.trim());
      const all = Number(row.cells[titles.indexOf("prompts")].dataset.value);
      document.getElementById("drawer-title").textContent = row.cells[0].dataset.value;
      document.getElementById("drawer-facts").textContent =
        titles.map((title, column) => [title, written(row.cells[column])]).slice(1).map(([title, text]) => `${title}: ${text}`).join(" · ") +
        (prompts.length < all ? ` · ${prompts.length} of the ${all} prompts are kept in the report` : "");
      document.getElementById("drawer-prompts").replaceChildren(
        ...prompts.map((prompt) => {
          const article = make("article", undefined, "prompt");
          const code = make("pre");
          const end = make("span", undefined, "cursor");
          end.setAttribute("aria-hidden", "true");
          code.append(make("code", prompt.prompt), end);
          const words = `counted as female: ${prompt.female.join(" · ")}; as male: ${prompt.male.join(" · ")}`;
          article.append(make("p", prompt.about, "note"), code, odds(prompt), make("p", words, "note"));
          return article;
        }),
      );
      opener = row.querySelector(".open");
      drawer.showModal();
      drawer.scrollTop = 0;
    });
  });
  // Not every browser focuses a button that is clicked, and then gives the focus back to nothing.
  drawer.addEventListener("close", () => opener.focus());
  document.getElementById("close").addEventListener("click", () => drawer.close());
  drawer.addEventListener("click", (event) => event.target === drawer && drawer.close());
}

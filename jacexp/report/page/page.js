"use strict";

// Tables: a button in each heading sorts, a field above filters.
const NUMBER = /^[+-]?(\d[\d,]*\.?\d*|\.\d+)(e[+-]?\d+)?(?=$|[\s%])/i;
const number = (text) => {
  const found = NUMBER.exec(text.replace("−", "-"));
  return found ? parseFloat(found[0].replaceAll(",", "")) : NaN;
};
const isEmpty = (text) => text === "" || text === "–" || text === "not run";

function compare(a, b) {
  const [x, y] = [number(a), number(b)];
  if (!isNaN(x) && !isNaN(y)) return x - y;
  return a.localeCompare(b, "en", { numeric: true });
}

function sortBy(table, column, button) {
  const heading = button.parentElement;
  const descending = heading.getAttribute("aria-sort") === "ascending";
  table.querySelectorAll("[aria-sort]").forEach((th) => th.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const body = table.tBodies[0];
  const text = (row) => row.cells[column].textContent.trim();
  const rows = [...body.rows].sort((a, b) => {
    const [s, t] = [text(a), text(b)];
    if (isEmpty(s) || isEmpty(t)) return isEmpty(s) - isEmpty(t); // at the end either way
    return descending ? compare(t, s) : compare(s, t);
  });
  body.append(...rows);
}

function addFilter(region, table) {
  const line = document.createElement("label");
  const field = Object.assign(document.createElement("input"), { type: "search", placeholder: "words, all of them" });
  const count = document.createElement("span");
  line.className = "filter";
  count.setAttribute("role", "status");
  line.append("Filter ", field, count);
  region.before(line);
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const cells = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
      row.hidden = !words.every((word) => cells.includes(word));
      shown += !row.hidden;
    }
    count.textContent = words.length ? `${shown} of ${table.tBodies[0].rows.length} rows` : "";
  });
}

for (const region of document.querySelectorAll(".table")) {
  const table = region.querySelector("table");
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sortBy(table, column, button));
    heading.append(button);
  });
  if (table.tBodies[0].rows.length > 5) addFilter(region, table);
  for (const verdict of table.querySelectorAll("td strong")) if (/^(confirmed|refuted)$/.test(verdict.textContent)) verdict.className = verdict.textContent;
}

// Figures: drawn when they come into view, in the colours of the page.
const DATA = JSON.parse(document.getElementById("data").textContent);
const BUTTONS = [["toImage", "zoom2d", "pan2d", "resetScale2d"]];
const CONFIG = { responsive: true, displaylogo: false, modeBarButtons: BUTTONS };
const drawn = new Set();
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function seen(hex) { // a method's colour; a dark one is lightened on a dark page
  if (!/^#[0-9a-f]{6}$/i.test(hex) || !matchMedia("(prefers-color-scheme: dark)").matches || printing) return hex;
  const parts = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const light = (0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]) / 255;
  const share = light < 0.1 ? 0.85 : light < 0.4 ? 0.35 : 0;
  return "#" + parts.map((p) => Math.round(p + (255 - p) * share).toString(16).padStart(2, "0")).join("");
}
let printing = false;

function themed(figure) {
  const { layout, data } = structuredClone(figure);
  const axis = { gridcolor: colour("--line"), linecolor: colour("--line"), tickcolor: colour("--line") };
  for (const name of ["xaxis", "yaxis"]) layout[name] = { ...layout[name], ...axis, automargin: true };
  for (const trace of data) {
    for (const part of [trace.line, trace.marker]) if (part?.color) part.color = seen(part.color);
    if (trace.fillcolor) trace.fillcolor = seen(trace.fillcolor);
  }
  const font = { color: colour("--ink"), family: getComputedStyle(document.body).fontFamily, size: 12 };
  const hoverlabel = { bgcolor: colour("--paper"), bordercolor: colour("--line"), font };
  const clear = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)" };
  const modebar = { orientation: "v", bgcolor: "rgba(0,0,0,0)", color: colour("--faint"), activecolor: colour("--ink") };
  const margin = { l: 56, r: 12, t: 12, b: 44 };
  return [data, { margin, ...layout, ...clear, font, hoverlabel, modebar }];
}

function draw(box) {
  drawn.add(box);
  Plotly.react(box, ...themed(box.figure), CONFIG);
}

const watcher = new IntersectionObserver(
  (entries) => entries.filter((e) => e.isIntersecting && !drawn.has(e.target)).forEach((e) => draw(e.target)),
  { rootMargin: "600px" },
);
for (const box of document.querySelectorAll("[data-figure]")) {
  box.figure = DATA.figures[box.dataset.figure];
  watcher.observe(box);
}
const redraw = () => drawn.forEach(draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
addEventListener("beforeprint", () => {
  printing = true;
  document.querySelectorAll("[data-figure]").forEach(draw);
});
addEventListener("afterprint", () => {
  printing = false;
  redraw();
});

// Runs: their curves are drawn when they are opened, by hand or by a link.
for (const run of document.querySelectorAll(".run")) {
  run.addEventListener("toggle", () => {
    const place = run.querySelector(".drawings");
    if (!run.open || place.childElementCount) return;
    for (const figure of DATA.runs[run.dataset.run]) {
      const box = document.createElement("div");
      box.setAttribute("role", "img");
      box.setAttribute("aria-label", `${figure.name} of this run`);
      box.figure = { ...figure, layout: { ...figure.layout, title: { text: figure.name, font: { size: 13 } }, margin: { l: 56, r: 12, t: 36, b: 44 } } };
      place.append(box);
      draw(box);
    }
  });
}
function follow() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target?.matches(".run")) target.open = true;
}
addEventListener("hashchange", follow);
follow();

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

if (!("DecompressionStream" in window)) {
  document.querySelector("header").append("The plots of this page need a browser of 2023 or later.");
}
const DATA = await unpacked(document.getElementById("data").textContent);
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 760px)");
const touch = matchMedia("(pointer: coarse)");
const CONFIG = {
  responsive: true,
  displaylogo: false,
  displayModeBar: narrow.matches || touch.matches ? false : "hover",
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
};

const theme = () => document.documentElement.dataset.theme || (prefersDark.matches ? "dark" : "light");

function coloured(value, palette) {
  if (typeof value === "string") return value[0] === "$" && value.slice(1) in palette ? palette[value.slice(1)] : value;
  if (Array.isArray(value)) return value.length && typeof value[0] === "number" ? value : value.map((inner) => coloured(inner, palette));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, coloured(inner, palette)]));
  }
  return value;
}

function merged(base, own) {
  const result = { ...base };
  for (const [name, value] of Object.entries(own)) {
    const both = value && typeof value === "object" && !Array.isArray(value) && result[name] && typeof result[name] === "object";
    result[name] = both ? merged(result[name], value) : value;
  }
  return result;
}

/* A figure ready to draw: in the colours of the theme, with the words at the pointer, fitted to a narrow screen. */
function ready(figure) {
  const palette = DATA.palettes[theme()];
  const data = coloured(figure.data, palette).map((trace) =>
    trace.meta === "trials"
      ? { ...trace, hovertext: trace.customdata.map((i) => (i === null ? "" : DATA.trials[i].hover)) }
      : trace,
  );
  const layout = merged(coloured(DATA.base, palette), coloured(figure.layout, palette));
  layout.autosize = true;
  if (narrow.matches) {
    layout.font = { ...layout.font, size: 11 };
    layout.legend = { ...layout.legend, font: { size: 11 } };
    layout.margin = { ...layout.margin, l: 46, r: 6 };
    if (layout.xaxis.visible === false) layout.xaxis.range = [-0.13, 1.13]; /* room for long options */
  }
  if (touch.matches) layout.dragmode = false; /* a finger scrolls the page */
  return { data, layout };
}

function draw(place, figure) {
  place.figure = figure;
  const { data, layout } = ready(figure);
  return Plotly.react(place, data, layout, CONFIG).then(() => {
    if (place.listens) return;
    place.listens = true;
    place.on("plotly_click", (event) => {
      const index = event.points[0].customdata;
      if (Number.isInteger(index)) show(index);
    });
  });
}

const visible = (place) => place.offsetParent !== null;
const places = [...document.querySelectorAll(".plot")];
const drawn = () => [...document.querySelectorAll(".plot")].filter((place) => place.figure && visible(place));

/* One after the other, so that the page answers meanwhile. */
async function drawAll() {
  for (const place of places) {
    if (place.figure || !visible(place)) continue;
    await draw(place, DATA.figures[place.dataset.figure]);
    await new Promise((next) => setTimeout(next));
  }
  document.documentElement.dataset.drawn = places.filter((place) => place.figure).length;
}

function redraw() {
  for (const place of places) if (place.figure && !visible(place)) place.figure = null; /* drawn anew when shown */
  for (const place of drawn()) draw(place, place.figure);
}

/* ---- the panel of one network */
const panel = document.getElementById("panel");
const details = document.getElementById("details");

function element(name, text, parent, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  if (parent) parent.append(made);
  return made;
}

function list(pairs, parent) {
  const made = element("dl", undefined, parent);
  for (const [name, value] of pairs) {
    element("dt", name, made);
    element("dd", value, made);
  }
}

function layers(rows, parent) {
  const table = element("table", undefined, element("div", undefined, parent, "wide"), "layers");
  const head = element("tr", undefined, element("thead", undefined, table));
  ["part", "layer", "output", "parameters", "multiply-adds"].forEach((name, i) => element("th", name, head, i > 1 ? "n" : ""));
  const body = element("tbody", undefined, table);
  const totals = [0, 0];
  for (const row of rows) {
    const line = element("tr", undefined, body);
    row.forEach((value, i) =>
      element("td", i < 3 ? DATA.words[value] : value ? value.toLocaleString("en") : "", line, i > 1 ? "n" : ""),
    );
    totals[0] += row[3];
    totals[1] += row[4];
  }
  const foot = element("tr", undefined, element("tfoot", undefined, table));
  ["total", "", "", totals[0].toLocaleString("en"), totals[1].toLocaleString("en")].forEach((value, i) =>
    element("td", value, foot, i > 1 ? "n" : ""),
  );
}

function curve(trial) {
  const epochs = trial.accuracies.map((_, i) => i + 1);
  const at = trial.predictions.map((p) => p[0]);
  const data = [{ type: "scatter", mode: "lines+markers", name: "measured", x: epochs, y: trial.accuracies, line: { color: "$s0" }, hovertemplate: "epoch %{x}: %{y:.2%}<extra></extra>" }];
  if (at.length) {
    data.unshift(
      { type: "scatter", mode: "lines", x: [...at, ...[...at].reverse()], y: [...trial.predictions.map((p) => p[3]), ...trial.predictions.map((p) => p[1]).reverse()], fill: "toself", fillcolor: "$s1", opacity: 0.18, line: { width: 0 }, hoverinfo: "skip", name: "95 %" },
      { type: "scatter", mode: "lines+markers", name: "last epoch, as predicted", x: at, y: trial.predictions.map((p) => p[2]), line: { color: "$s1", dash: "dot" }, hovertemplate: "predicted after epoch %{x}: %{y:.2%}<extra></extra>" },
    );
  }
  return { data, layout: { xaxis: { title: { text: "epoch" }, range: [0.7, trial.epochs + 0.3], dtick: Math.ceil(trial.epochs / 10) }, yaxis: { tickformat: ".0%" }, margin: { t: 10, l: 44 } } };
}

function show(index) {
  const trial = DATA.trials[index];
  panel.querySelector("h2").textContent = trial.title;
  for (const place of details.querySelectorAll(".plot")) Plotly.purge(place);
  details.replaceChildren();
  list(trial.facts, details);
  panel.hidden = false;
  panel.scrollTop = 0;
  if (trial.accuracies.length) draw(element("div", undefined, details, "plot"), curve(trial));
  element("h3", "Layers", details);
  const rows = DATA.tables[trial.network];
  if (rows) layers(rows, details);
  else element("p", "The layer table of this network is not in the page.", details, "quiet");
  element("h3", "Knobs", details);
  list(Object.entries(trial.knobs), details);
}

const hide = () => { panel.hidden = true; };
document.getElementById("close").addEventListener("click", hide);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-trial]");
  if (opener) show(Number(opener.dataset.trial));
  const tab = event.target.closest("[role=tab]");
  if (!tab) return;
  const section = tab.closest("section");
  for (const other of section.querySelectorAll("[role=tab]")) other.setAttribute("aria-selected", other === tab);
  section.querySelectorAll(".view").forEach((view, i) => { view.hidden = i !== Number(tab.dataset.view); });
  drawAll();
});

/* ---- light and dark; the table of contents */
const kept = { get() { try { return localStorage.getItem("nas-theme"); } catch { return null; } }, set(value) { try { localStorage.setItem("nas-theme", value); } catch { /* private window */ } } };
if (kept.get() === "light" || kept.get() === "dark") document.documentElement.dataset.theme = kept.get();
document.getElementById("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = theme() === "dark" ? "light" : "dark";
  kept.set(document.documentElement.dataset.theme);
  redraw();
});
prefersDark.addEventListener("change", redraw);
narrow.addEventListener("change", redraw);

const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
const here = new IntersectionObserver(
  (entries) => { for (const entry of entries) links.get(entry.target.id).classList.toggle("here", entry.isIntersecting); },
  { rootMargin: "-50px 0px -75% 0px" },
);
document.querySelectorAll("section").forEach((section) => here.observe(section));

/* ---- watching a search: only where the page came from `nas report --watch` */
if (DATA.stamp !== null) {
  setInterval(async () => {
    try {
      const current = await (await fetch("stamp", { cache: "no-store" })).text();
      if (current !== DATA.stamp) location.reload();
    } catch { /* the server has gone; what is shown stays */ }
  }, 5000);
}

drawAll();

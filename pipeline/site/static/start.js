"use strict";
// Which page this is, drawn when its data is there and again when a switch was used.
// Scores of classes and curves come in thousandths.
const told = { run: null };
const parts = (values) => (values || []).map((value) => (isNumber(value) ? value / 1000 : null));

// JSON through deflate and Base64, as pages.py packs it.
async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).json();
}

async function readRun() {
  const found = await unpack(document.getElementById("told").textContent);
  for (const split of ["val", "test"]) {
    if (!found[split]) continue;
    const own = found[split].classes;
    for (const name of ["f1", "precision", "recall", "ap", "threshold", "base"]) if (own[name]) own[name] = parts(own[name]);
    if (own.limits) own.limits = own.limits.map(parts);
  }
  return found;
}

function readAll() {
  for (const row of window.ISOBAR.runs) { row.spark = parts(row.spark); row.f1 = parts(row.f1); }
}

function draw() {
  const page = document.documentElement.dataset.page;
  const scroll = window.scrollY;
  if (page === "run") drawRun(told.run);
  else if (page === "compare") drawCompare(window.ISOBAR);
  else drawIndex(window.ISOBAR);
  window.scrollTo(0, scroll);
  const pressed = document.activeElement === document.body && draw.focus ? document.querySelector(draw.focus) : null;
  if (pressed) pressed.focus();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest ? event.target.closest("[data-choice]") : null;
  draw.focus = button ? `[data-choice="${button.dataset.choice}"]` : "";
}, true);
document.addEventListener("DOMContentLoaded", async () => {
  if (document.documentElement.dataset.page !== "run") readAll();
  else if (typeof DecompressionStream === "undefined") return fill(document.body, h("main", {}, note(t("too_old"), "warn")));
  else told.run = await readRun();
  draw();
  if (location.hash && document.documentElement.dataset.page !== "compare") {
    const target = document.getElementById(location.hash.slice(1));
    if (target) target.scrollIntoView();
  }
});
window.addEventListener("hashchange", () => { if (document.documentElement.dataset.page === "compare") draw(); });

"use strict";
// Chosen runs side by side.
const KINDS = ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7"];

function chosenRuns(data) {
  const wanted = location.hash.slice(1).split(",").filter(Boolean).map((name) => { try { return decodeURIComponent(name); } catch { return ""; } });
  return wanted.map((id) => data.runs.find((row) => row.id === id && row.val)).filter(Boolean).slice(0, MOST_COMPARED);
}

function goTo(ids) { location.hash = ids.map(encodeURIComponent).join(","); }

function chooser(data, rows) {
  const ids = rows.map((row) => row.id), left = data.runs.filter((row) => row.val && !ids.includes(row.id));
  return h("div", { class: "filters" }, rows.map((row, k) => h("span", { class: "chip" }, key(KINDS[k], ""), h("a", { href: pageOf(row) }, row.id), h("button", { type: "button", class: "plainly", "aria-label": t("remove", { name: row.id }), on: { click: () => goTo(ids.filter((id) => id !== row.id)) } }, "×"))),
    rows.length < MOST_COMPARED ? h("label", { for: "add" }, h("span", {}, t("add_run")), h("select", { id: "add", on: { change: (event) => { if (event.target.value) goTo([...ids, event.target.value]); } } }, h("option", { value: "" }, "–"),
      left.map((row) => h("option", { value: row.id }, `${row.id} (${fixed(scoreOf(row))})`)))) : h("span", { class: "faint" }, t("too_many", { n: MOST_COMPARED })));
}

function drawCompare(data) {
  const rows = chosenRuns(data);
  const body = rows.length < 2 ? note(t("choose_two")) : [comparedScores(rows), pairedOf(rows, data), comparedClasses(rows, data), comparedCurves(rows), comparedSettings(rows, data)];
  fill(document.body, header(`${t("compare")} – Isobar`, true), h("main", { id: "main" }, h("h1", {}, t("compare")), chooser(data, rows), body));
}

function comparedScores(rows) {
  const same = new Set(rows.map((row) => `${experimentOf(row.id)}/${row.group || 0}`)).size === 1;
  const values = rows.flatMap((row) => [row.val, row.test]).filter(Boolean).flatMap((split) => split.f).filter(isNumber), domain = scaleOf(values, 0.1);
  const block = (name) => (rows.some((row) => row[name]) ? scroller(h("table", { class: "plain" }, h("caption", {}, h("span", { class: name }, t(`${name}_head`))), h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("run")), name === "val" ? h("th", { scope: "col" }, t("cross")) : null,
    h("th", { scope: "col", colspan: 2 }, t("f1"), h("span", { class: "sub" }, ` ${fixed(domain[0], 2)} – ${fixed(domain[1], 2)}`)), h("th", { scope: "col" }, t("map")), h("th", { scope: "col" }, t("uplift")), h("th", { scope: "col" }, t("best_baseline")))),
  h("tbody", {}, rows.map((row, k) => h("tr", {}, h("th", { scope: "row" }, key(KINDS[k], nameOf(row.id))), name === "val" ? h("td", { class: "num" }, fixed(row.cross)) : null, row[name] ? [h("td", { class: "num strong" }, fixed(first(row[name].f)), h("span", { class: "sub block" }, range(row[name].f))), h("td", {}, intervalPlot(row[name].f, null, domain, name, 180)),
    h("td", { class: "num" }, fixed(first(row[name].m)), h("span", { class: "sub block" }, range(row[name].m))), h("td", { class: "num" }, signed(first(row[name].up.f)), h("span", { class: "sub block" }, rangeSigned(row[name].up.f))), h("td", { class: "num" }, fixed(row[name].base.f), h("span", { class: "sub block" }, known(row[name].by)))] : h("td", { colspan: 5 }, "–"))))), t(`${name}_head`)) : null);
  return section("scores", t("scores"), same ? null : note(t("not_same_days"), "warn"), block("val"), block("test"));
}

function pairedOf(rows, data) {
  const ids = rows.map((row) => row.id);
  const pairs = (data.pairs || []).filter((pair) => ids.includes(pair.run) && ids.includes(pair.against));
  const command = `python jobs/evaluate.py results/${ids[0]} --against results/${ids[1]}`;
  return section("paired", t("paired"), pairs.length ? pairs.map(pairPanel) : h("p", { class: "faint" }, t("paired_none", { command: "" }), h("code", { class: "block" }, command)));
}

function comparedClasses(rows, data) {
  const first_labels = rows[0].labels;
  if (first_labels === undefined || !rows.every((row) => row.labels === first_labels && row.f1)) return null;
  const names = data.labels[first_labels], domain = scaleOf(rows.flatMap((row) => row.f1), 0.04), x = (value) => +(8 + ((value - domain[0]) / (domain[1] - domain[0])) * 384).toFixed(1);
  const order = names.map((_, k) => k).sort((a, b) => (rows[0].f1[a] ?? 2) - (rows[0].f1[b] ?? 2));
  return section("classes", t("f1_classes"), scroller(h("table", { class: "plain" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("class")), h("th", { scope: "col" }, `${fixed(Math.max(0, domain[0]), 2)} – ${fixed(Math.min(1, domain[1]), 2)}`), rows.map((row, k) => h("th", { scope: "col" }, key(KINDS[k], ""), h("span", { class: "unseen" }, nameOf(row.id)))))),
    h("tbody", {}, order.map((k) => h("tr", {}, h("th", { scope: "row" }, names[k]), h("td", {}, svg(400, 18, names[k], s("line", { class: "axis", x1: 8, x2: 392, y1: 9, y2: 9 }), rows.map((row, i) => (isNumber(row.f1[k]) ? s("circle", { class: `dot ${KINDS[i]}`, cx: x(row.f1[k]), cy: 9, r: 4.5 }) : null)))),
      rows.map((row) => h("td", { class: "num" }, fixed(row.f1[k], 2))))))), t("f1_classes")));
}

function comparedCurves(rows) {
  const drawn = rows.map((row, k) => ({ name: nameOf(row.id), kind: KINDS[k], values: row.spark || [], best: row.epochs })).filter((one) => one.values.length > 1);
  if (!drawn.length) return null;
  const steps = 40, xs = Array.from({ length: steps + 1 }, (_, k) => (100 * k) / steps);
  const along = (values) => xs.map((x) => {
    const place = (x / 100) * (values.length - 1), k = Math.min(values.length - 2, Math.floor(place));
    return isNumber(values[k]) && isNumber(values[k + 1]) ? values[k] + (place - k) * (values[k + 1] - values[k]) : values[k];
  });
  return section("curves", `${t("curve_of")} (%)`, h("div", { class: "multiples" }, lineChart(t("on_validation"), xs, drawn.map((one) => ({ ...one, values: along(one.values) })), null, { width: 640 })));
}

function comparedSettings(rows, data) {
  const lines = new Map();
  rows.forEach((row, k) => (data.varying[experimentOf(row.id)] || []).forEach((name, place) => {
    if (!lines.has(name)) lines.set(name, rows.map(() => null));
    lines.get(name)[k] = (row.set || [])[place];
  }));
  const differing_lines = [...lines].filter(([, values]) => new Set(values.map((value) => value ?? "")).size > 1);
  if (!differing_lines.length) return null;
  return section("settings", t("settings"), scroller(h("table", { class: "plain" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("setting")), rows.map((row, k) => h("th", { scope: "col" }, key(KINDS[k], nameOf(row.id)))))),
    h("tbody", {}, differing_lines.map(([name, values]) => h("tr", {}, h("th", { scope: "row" }, h("code", {}, name)), values.map((value) => h("td", {}, value === null || value === undefined ? "–" : h("code", {}, value))))))), t("settings")));
}

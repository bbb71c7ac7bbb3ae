"use strict";
// The first page: what ran, which is best, can it be believed, where it fails; and the leaderboard.
const MOST_COMPARED = 8;
const board = { key: "cross", down: true, text: "", experiment: "", state: "", baselines: true, chosen: new Set(), open: new Set() };
const SHOWN_AT_FIRST = 20;
const scoreOf = (row) => (isNumber(row.cross) ? row.cross : row.val ? first(row.val.f) : null);
const ran = (row) => row.state === "running" || row.state === "silent";

function badge(row) {
  return h("span", { class: `badge ${row.state}` }, t(row.state),
    ran(row) && isNumber(row.epochs) ? h("span", { class: "sub" }, ` ${row.epoch || 0}/${row.epochs}`) : null);
}

function whyOf(row) {
  if (row.state === "silent") return t("silent_note", { beat: moment(row.beat) });
  if (row.state === "running") return `${isNumber(row.epochs) ? t("epoch_of", { a: row.epoch || 0, b: row.epochs }) + " · " : ""}${t("beat", { beat: ago(row.beat) })}`;
  if (row.state === "interrupted") return row.why && language === "en" ? row.why : t("same_again");
  return row.why || "";
}

function differing(row, data) {
  const names = data.varying[experimentOf(row.id)] || [];
  return names.map((name, k) => [name.split(".").slice(-1)[0], (row.set || [])[k]])
    .filter(([name, value]) => value !== null && value !== undefined && value !== "null" && name !== "backbone").slice(0, 5)
    .map(([name, value]) => `${name} ${String(value).slice(0, 24)}`).join(" · ");
}

function groupsOf(data) {
  const groups = new Map();
  for (const row of data.runs) {
    const name = `${experimentOf(row.id)}/${row.group || 0}`;
    if (!groups.has(name)) groups.set(name, { name, experiment: experimentOf(row.id), number: row.group || 0, rows: [] });
    groups.get(name).rows.push(row);
  }
  const found = [...groups.values()].sort((a, b) => a.experiment.localeCompare(b.experiment) || a.number - b.number);
  for (const one of found) {
    const judged = one.rows.filter((row) => row.val);
    const values = judged.flatMap((row) => [row.val, row.test]).filter(Boolean).flatMap((split) => [...split.f, split.base && split.base.f]).filter(isNumber);
    one.domain = values.length ? [Math.max(0, Math.floor(Math.min(...values) * 10) / 10), Math.min(1, Math.ceil(Math.max(...values) * 10) / 10)] : [0, 1];
    if (one.domain[0] === one.domain[1]) one.domain[1] = one.domain[0] + 0.1;
    one.sample = judged[0];
    one.best = judged.filter((row) => isNumber(scoreOf(row))).sort((a, b) => scoreOf(b) - scoreOf(a))[0];
  }
  return found;
}

const span = (split) => (split ? `${split.from && split.from !== split.to ? `${split.from} – ${split.to}, ` : ""}${t("n_days", { n: split.n })}` : "–");

function summaries(data) {
  return groupsOf(data).map((group) => {
    const { best } = group;
    const counts = {};
    for (const row of group.rows) counts[row.state] = (counts[row.state] || 0) + 1;
    const ranFacts = [h("p", {}, h("b", {}, group.rows.length === 1 ? t("n_run") : t("n_runs", { n: group.rows.length })), " ",
      Object.entries(counts).map(([state, n]) => [h("span", { class: `badge ${state}` }, `${n} ${t(state)}`), " "])),
    group.sample ? h("p", { class: "faint" }, t("judged_on", { val: span(group.sample.val) }), h("br"), t("judged_test", { test: span(group.sample.test) })) : null,
    group.rows.filter((row) => ["failed", "broken", "silent", "running", "interrupted"].includes(row.state)).slice(0, 3)
      .map((row) => h("p", { class: "faint small" }, h("a", { href: pageOf(row) }, nameOf(row.id)), ` ${whyOf(row)}`))];
    return h("article", { class: "panel", "aria-label": group.experiment },
      h("h3", {}, group.experiment, group.number ? h("span", { class: "sub" }, ` ${String.fromCharCode(65 + group.number)}`) : null,
        group.number ? h("span", { class: "sub" }, ` · ${t("other_days", { k: String.fromCharCode(65 + group.number) })}`) : null),
      h("div", { class: "four" },
        h("div", {}, h("h4", {}, t("q_ran")), ranFacts),
        h("div", {}, h("h4", {}, t("q_best")), best ? bestFacts(best, group, data) : h("p", { class: "faint" }, t("no_scores"))),
        h("div", {}, h("h4", {}, t("q_believe")), best ? h("ul", { class: "signs" }, signs(best, group)) : null),
        h("div", {}, h("h4", {}, t("q_fails")), best ? failures(best, data) : null)));
  });
}

function bestFacts(best, group, data) {
  return [h("p", { class: "hero" }, fixed(scoreOf(best))),
    h("p", { class: "faint small" }, t("best_is")),
    h("p", {}, h("a", { href: pageOf(best), class: "strong" }, nameOf(best.id)), h("br"), h("span", { class: "faint small" }, differing(best, data))),
    h("table", { class: "tiny" }, h("tbody", {}, [["val", "on_validation"], ["test", "on_test"]].filter(([split]) => best[split]).map(([split, name]) =>
      h("tr", {}, h("th", { scope: "row" }, key(split, t(name))), h("td", {}, intervalPlot(best[split].f, best[split].base.f, group.domain, split, 110)),
        h("td", { class: "num" }, fixed(first(best[split].f)))))))];
}

function sign(kind, text) { return h("li", { class: kind }, text); }

function flatterySign(tuned, cross) {
  const flattery = tuned - cross;
  return flattery < 0.0005 ? sign("good", t("flatters_not", { f: fixed(cross) }))
    : sign(flattery > 0.05 ? "bad" : "plain", t("flatters", { d: fixed(flattery), f: fixed(tuned), x: fixed(cross) }));
}

function signs(best, group) {
  const { val, test } = best;
  const found = [];
  const up = val.up.f, sure = isNumber(up[1]) ? up[1] > 0 : up[0] > 0;
  found.push(sign(sure ? "good" : "bad", t(sure ? "beats" : "beats_not", { d: signed(up[0]), name: known(val.by), ci: rangeSigned(up) })));
  if (isNumber(best.cross)) {
    found.push(flatterySign(first(val.f), best.cross));
  }
  const judged = group.rows.filter((row) => row.val && row !== best);
  if (best.family) found.push(sign("plain", t("seeds_are", { n: best.family[0], m: fixed(best.family[1]), s: fixed(best.family[2]) })));
  else found.push(sign("bad", t("one_seed")));
  if (judged.length && isNumber(val.f[1])) {
    const inside = judged.filter((row) => first(row.val.f) >= val.f[1] && first(row.val.f) <= val.f[2]).length;
    found.push(sign(inside ? "bad" : "good", t(inside ? "inside" : "inside_none", { n: inside, m: judged.length })));
  }
  if (judged.length > 1) found.push(sign("plain", t("best_of", { n: judged.length + 1 })));
  if (!test) found.push(sign("plain", t("no_test")));
  else {
    const lower = isNumber(test.f[2]) && test.f[2] < first(val.f);
    found.push(sign(lower ? "bad" : "good", t(lower ? "test_lower" : "test_agrees", { f: fixed(first(test.f)), ci: isNumber(test.f[1]) ? `(${range(test.f)})` : "", v: fixed(first(val.f)) })));
  }
  for (const line of [...(val.warn || []), ...((test || {}).warn || [])].slice(0, 3)) found.push(sign("bad", warningText(line)));
  return found;
}

function failures(best, data) {
  const names = data.labels[best.labels] || [];
  const weakest = (best.f1 || []).map((value, k) => [names[k], value, (best.support || [])[k]]).filter((one) => isNumber(one[1])).sort((a, b) => a[1] - b[1]).slice(0, 4);
  return [h("p", { class: "faint small" }, t("weakest")), bars(weakest.map(([name, value, n]) => [isNumber(n) ? `${name} (n ${n})` : name, value]), t("weakest"), (v) => fixed(v, 2)),
    (best.weak || []).map(([by, part, n, value]) => h("p", { class: "faint small" }, `${t("weakest_part", { by: known(by) })}: `, h("b", {}, known(part)), ` ${fixed(value)} (n ${n})`))];
}

// --- the leaderboard -----------------------------------------------------------------------------------------------------
const COLUMNS = [
  ["name", "run", (row) => nameOf(row.id), "text"], ["state", "state", (row) => row.state, "text"],
  ["cross", "cross", scoreOf, "val"], ["vf", "f1", (row) => row.val && first(row.val.f), "val wide"], ["vm", "map", (row) => row.val && first(row.val.m), "val"],
  ["vu", "uplift", (row) => row.val && first(row.val.up.f), "val"],
  ["tf", "f1", (row) => row.test && first(row.test.f), "test wide"], ["tm", "map", (row) => row.test && first(row.test.m), "test"],
  ["tu", "uplift", (row) => row.test && first(row.test.up.f), "test"],
  ["curve", "curve", null, "less"], ["time", "time", (row) => row.seconds, "less"], ["when", "when", (row) => row.began, "less"]];

function matches(row, data) {
  if (board.experiment && experimentOf(row.id) !== board.experiment) return false;
  if (board.state && row.state !== board.state) return false;
  const names = data.varying[experimentOf(row.id)] || [];
  const text = [row.id, row.backbone, row.host, t(row.state), row.why, ...names.map((name, k) => `${name}=${(row.set || [])[k]}`)].join(" ").toLowerCase();
  return board.text.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function ordered(rows) {
  const [, , value] = COLUMNS.find((one) => one[0] === board.key);
  const empty = (one) => one === null || one === undefined || one === "";
  return [...rows].sort((a, b) => {
    const x = value(a), y = value(b);
    if (empty(x) || empty(y)) return empty(x) - empty(y) || a.id.localeCompare(b.id);
    const order = typeof x === "string" ? x.localeCompare(y) : x - y;
    return (board.down ? -order : order) || a.id.localeCompare(b.id);
  });
}

function headCell([name, label, value, kind]) {
  const sorted = board.key === name;
  const attributes = { scope: "col", class: kind, "aria-sort": sorted ? (board.down ? "descending" : "ascending") : undefined };
  if (!value) return h("th", attributes, t(label));
  return h("th", attributes, h("button", { type: "button", "data-sort": name, title: t("sort_by", { name: t(label) }),
    on: { click: () => { board.down = sorted ? !board.down : !["name", "state"].includes(name); board.key = name; redrawBoard(`[data-sort="${name}"]`); } } },
  t(label), h("span", { class: "arrow", "aria-hidden": "true" }, sorted ? (board.down ? "▾" : "▴") : "")));
}

function splitCells(split, kind, domain) {
  if (!split) return [h("td", { class: `num ${kind}` }, "–"), h("td", { class: `num ${kind}` }, "–"), h("td", { class: `num ${kind}` }, "–")];
  const weak = isNumber(split.up.f[1]) ? split.up.f[1] <= 0 : split.up.f[0] <= 0;
  return [h("td", { class: `num ${kind} wide`, title: range(split.f), "data-split": t(kind === "val" ? "on_validation" : "on_test") }, h("span", { class: "withplot" }, h("span", {}, fixed(first(split.f))), intervalPlot(split.f, split.base.f, domain, kind, 84))),
    h("td", { class: `num ${kind}`, title: range(split.m) }, fixed(first(split.m))),
    h("td", { class: `num ${kind}${weak ? " weak" : ""}`, title: `${known(split.by)}: ${rangeSigned(split.up.f)}` }, signed(first(split.up.f)))];
}

function boardRow(row, group, data) {
  const why = row.state === "done" ? "" : whyOf(row);
  return h("tr", { "data-run": row.id, class: row.state === "done" ? "" : "unfinished" },
    h("td", { class: "pick" }, row.val ? h("input", { type: "checkbox", checked: board.chosen.has(row.id), "aria-label": t("pick", { name: row.id }),
      on: { change: (event) => { if (event.target.checked) board.chosen.add(row.id); else board.chosen.delete(row.id); drawPicked(); } } }) : null),
    h("th", { scope: "row", class: "text" }, h("a", { href: pageOf(row) }, nameOf(row.id)),
      row.warnings || row.faults ? h("span", { class: "flag", title: t("n_warnings", { n: (row.warnings || 0) + (row.faults || 0) }) }, ` ⚠ ${(row.warnings || 0) + (row.faults || 0)}`) : null,
      h("span", { class: "sub block" }, why || differing(row, data))),
    h("td", { class: "text state" }, badge(row)),
    h("td", { class: "num val" }, fixed(scoreOf(row))), splitCells(row.val, "val", group.domain), splitCells(row.test, "test", group.domain),
    h("td", { class: "less" }, spark(row.spark || [], 64)), h("td", { class: "num less" }, duration(row.seconds)), h("td", { class: "num less when" }, (row.began || "–").slice(0, 10)));
}

function baselineRow(group) {
  const { val, test } = group.sample;
  const cell = (split, kind, name) => h("td", { class: `num ${kind}`, "data-split": t(kind.startsWith("val") ? "on_validation" : "on_test") }, name === "f" ? h("span", { class: "withplot" }, h("span", {}, split && split.base ? fixed(split.base.f) : "–"), s("svg", { width: 84, height: 18, "aria-hidden": "true" })) : split && split.base ? fixed(split.base[name]) : "–");
  return h("tr", { class: "baseline" }, h("td", { class: "pick" }), h("th", { scope: "row", class: "text" }, t("baseline", { name: known(val.by) })), h("td", {}),
    h("td", { class: "num val" }, ""), cell(val, "val wide", "f"), cell(val, "val", "m"), h("td", { class: "num val" }, ""),
    cell(test, "test wide", "f"), cell(test, "test", "m"), h("td", { class: "num test" }, ""), h("td", { class: "less" }), h("td", { class: "less" }), h("td", { class: "less" }));
}

function restRow(group, n) {
  return h("tr", { class: "rest" }, h("td", { colspan: COLUMNS.length + 1 }, h("button", { type: "button", class: "plainly", "data-open": group.name,
    on: { click: () => { board.open.add(group.name); redrawBoard(); } } }, t("show_all", { n, name: group.experiment }))));
}

function boardTable(data) {
  let shown = 0;
  const bodies = groupsOf(data).map((group) => {
    const rows = ordered(group.rows.filter((row) => matches(row, data)));
    shown += rows.length;
    if (!rows.length) return null;
    const all_shown = board.text || board.open.has(group.name) || rows.length <= SHOWN_AT_FIRST + 5;
    const lines = (all_shown ? rows : rows.slice(0, SHOWN_AT_FIRST)).map((row) => boardRow(row, group, data));
    if (board.baselines && group.sample) {
      const own = COLUMNS.find((one) => one[0] === board.key);
      const mark = { vf: "f", vm: "m", tf: "f", tm: "m", cross: "f" }[own[0]];
      const split = own[0][0] === "t" ? group.sample.test : group.sample.val;
      const value = mark && split ? split.base[mark] : null;
      let place = isNumber(value) ? rows.findIndex((row) => { const other = own[2](row); return !isNumber(other) || (board.down ? other < value : other > value); }) : -1;
      if (place < 0 || place > lines.length) place = lines.length;
      if (!all_shown && place === lines.length) lines.push(restRow(group, rows.length), baselineRow(group));
      else lines.splice(place, 0, baselineRow(group));
    }
    if (!all_shown && !lines.some((line) => line.className === "rest")) lines.push(restRow(group, rows.length));
    return h("tbody", { "data-group": group.name }, h("tr", { class: "group" }, h("th", { colspan: COLUMNS.length + 1, scope: "rowgroup" }, h("b", {}, group.experiment),
      group.number ? ` ${String.fromCharCode(65 + group.number)}` : "", h("span", { class: "sub" },
        group.sample ? ` ${t("judged_on", { val: span(group.sample.val) })} · ${t("judged_test", { test: span(group.sample.test) })}` : "",
        group.sample ? h("span", { class: "scale" }, ` F1 ${fixed(group.domain[0], 1)} – ${fixed(group.domain[1], 1)}`) : ""))), lines);
  });
  return { shown, table: h("table", { class: "board", id: "board" }, h("caption", { class: "unseen" }, t("runs")),
    h("thead", {}, h("tr", { class: "over" }, h("td", { colspan: 3 }), h("th", { colspan: 4, class: "val", scope: "colgroup" }, t("val_head")), h("th", { colspan: 3, class: "test", scope: "colgroup" }, t("test_head")), h("td", { class: "less", colspan: 3 })),
      h("tr", {}, h("td", { class: "pick" }), COLUMNS.map(headCell))), bodies) };
}

// Said aloud as a table also where the style sheet makes cards of its rows.
function withRoles(table) {
  const roles = { table: [table], rowgroup: table.querySelectorAll("thead, tbody"), row: table.querySelectorAll("tr"), cell: table.querySelectorAll("td"),
    columnheader: table.querySelectorAll("thead th"), rowheader: table.querySelectorAll("tbody th") };
  for (const [role, elements] of Object.entries(roles)) for (const element of elements) element.setAttribute("role", role);
}

function redrawBoard(focus) {
  const data = window.ISOBAR, place = document.getElementById("board-place");
  const { table, shown } = boardTable(data);
  withRoles(table);
  fill(place, board.key[0] === "t" && board.key !== "time" ? note(t("sorted_test"), "warn") : null, scroller(table, t("runs")));
  document.getElementById("shown").textContent = t("shown", { n: shown, m: data.runs.length });
  if (focus) { const target = document.querySelector(focus); if (target) target.focus(); }
}

function drawPicked() {
  const place = document.getElementById("picked"), chosen = [...board.chosen];
  fill(place, chosen.length < 2 ? h("span", { class: "faint" }, t("compare_hint"))
    : h("a", { class: "button", href: `.site/compare.html#${chosen.slice(0, MOST_COMPARED).map(encodeURIComponent).join(",")}` }, t("compare_n", { n: chosen.length })),
  chosen.length > MOST_COMPARED ? h("span", { class: "faint" }, ` ${t("too_many", { n: MOST_COMPARED })}`) : null,
  chosen.length ? h("button", { type: "button", class: "plainly", on: { click: () => { board.chosen.clear(); redrawBoard(); drawPicked(); } } }, t("clear")) : null);
}

function select(id, label, values, current, act) {
  return h("label", { for: id }, h("span", {}, label), h("select", { id, on: { change: (event) => act(event.target.value) } },
    values.map(([value, text]) => h("option", { value, selected: value === current }, text))));
}

function filters(data) {
  const experiments = [...new Set(data.runs.map((row) => experimentOf(row.id)))].sort();
  const states = [...new Set(data.runs.map((row) => row.state))].sort();
  const sortable = COLUMNS.filter((one) => one[2]).map(([name, label, , kind]) => [name, `${kind.startsWith("val") ? `${t("on_validation")} ` : kind.startsWith("test") ? `${t("on_test")} ` : ""}${t(label)}`]);
  return h("form", { class: "filters", role: "search", on: { submit: (event) => event.preventDefault() } },
    h("label", { for: "find" }, h("span", {}, t("search")), h("input", { id: "find", type: "search", placeholder: t("search_hint"), value: board.text, on: { input: (event) => { board.text = event.target.value; redrawBoard(); } } })),
    select("experiment", t("experiment"), [["", t("all")], ...experiments.map((name) => [name, name])], board.experiment, (value) => { board.experiment = value; redrawBoard(); }),
    select("state", t("state"), [["", t("all")], ...states.map((name) => [name, t(name)])], board.state, (value) => { board.state = value; redrawBoard(); }),
    h("span", { class: "narrow-only" }, select("sort", t("sorting"), sortable, board.key, (value) => { board.key = value; board.down = !["name", "state"].includes(value); redrawBoard(); })),
    h("label", { class: "tick", for: "with-baselines" }, h("input", { id: "with-baselines", type: "checkbox", checked: board.baselines, on: { change: (event) => { board.baselines = event.target.checked; redrawBoard(); } } }), h("span", {}, t("baselines_too"))),
    h("span", { class: "faint", id: "shown", role: "status" }), h("span", { id: "picked", class: "picked" }));
}

function drawIndex(data) {
  const parts = [["overview", t("overview")], ["runs", `${t("runs")} ${data.runs.length}`], ["sweeps", t("sweeps"), data.sweeps], ["searches", t("searches"), data.studys],
    ["importances", t("importances"), data.importances], ["days", t("days"), data.days]].filter((one) => (one[2] || data.runs).length);
  fill(document.body, header(`${t("title")} – Isobar`), h("nav", { "aria-label": t("title") }, parts.map(([id, text, list]) => h("a", { href: `#${id}` }, list ? `${text} ${list.length}` : text)),
    h("a", { href: ".site/compare.html" }, t("compare"))),
  h("main", { id: "main" }, h("h1", { class: "unseen" }, t("title")),
    data.runs.length ? [h("section", { id: "overview", "aria-label": t("overview") }, summaries(data)),
      section("runs", t("runs"), h("p", { class: "legendline" }, key("val", t("legend_val")), key("test", t("legend_test")), key("base", t("legend_base"))), filters(data), h("div", { id: "board-place" }))]
      : h("p", { class: "nothing" }, t("nothing")),
    sweepsSection(data), studiesSection(data), importancesSection(data), daysSection(data)));
  if (data.runs.length) { redrawBoard(); drawPicked(); }
}

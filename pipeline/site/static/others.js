"use strict";
// Sweeps, searches and analyses of importance.
const picturesOf = (id, names) => (names && names.length ? h("details", { class: "pictures" }, h("summary", {}, `${t("pictures")} (${names.length})`), gallery(names.map((name) => [name, rootPath() + path(id, name)]))) : null);

function gallery(pairs) {
  return h("div", { class: "gallery" }, pairs.map(([name, url]) => h("figure", {}, h("a", { href: url }, h("img", { loading: "lazy", decoding: "async", src: url, alt: name })),
    h("figcaption", {}, name.replace(/^figures\//, "").replace(/\.png$/, "").replace(/_/g, " ")))));
}

function faultList(faults) {
  return faults && faults.length ? h("div", { class: "note warn" }, h("b", {}, t("unreadable")), h("ul", {}, faults.map((line) => h("li", {}, line)))) : null;
}

const spreadText = (pair) => (pair && isNumber(pair[0]) ? `${fixed(pair[0])}${isNumber(pair[1]) ? ` ± ${fixed(pair[1])}` : ""}` : "–");
const lastName = (id) => id.slice(id.lastIndexOf("/") + 1);

function sweepsSection(data) {
  if (!data.sweeps.length) return null;
  return section("sweeps", t("sweeps"), data.sweeps.map((one) => {
    if (!one.backbones) return h("article", { class: "panel" }, h("h3", {}, one.id), faultList(one.faults));
    const values = one.runs.map((run) => run[5]).filter(isNumber), domain = scaleOf(values, 0.08);
    const known_runs = new Set(data.runs.map((row) => row.id));
    return h("article", { class: "panel" },
      h("h3", {}, experimentOf(one.id), h("span", { class: "sub" }, ` ${lastName(one.id)} · ${t("by_metric", { metric: one.metric })} · ${t("runs_of", { a: one.counts.finished || 0, b: one.runs.length })} ${one.complete ? t("complete") : t("unfinished")}`)),
      scroller(h("table", { class: "plain" }, h("caption", { class: "unseen" }, t("sweeps")), h("thead", {}, h("tr", {},
        h("th", { scope: "col" }, t("backbone")), h("th", { scope: "col" }, t("runs")), h("th", { scope: "col", class: "val" }, `${t("on_validation")}, ${t("mean_sd")}`), h("th", { scope: "col", class: "val" }, t("each_run")),
        h("th", { scope: "col", class: "val" }, t("cross")), h("th", { scope: "col", class: "val" }, t("gap")), h("th", { scope: "col", class: "test" }, `${t("on_test")}, ${t("mean_sd")}`), h("th", { scope: "col", class: "test" }, t("pooled")),
        h("th", { scope: "col", class: "spare" }, t("time")), h("th", { scope: "col", class: "spare" }, t("size")))),
      h("tbody", {}, one.backbones.map((b) => h("tr", { class: b.name === one.best ? "strong" : "" },
        h("th", { scope: "row" }, b.name, b.name === one.best ? h("span", { class: "sub" }, ` ${t("best_backbone")}`) : null, b.stand_ins.length ? h("span", { class: "flag" }, ` ⚠ ${b.stand_ins.join(", ")}`) : null),
        h("td", { class: "num" }, t("runs_of", { a: b.runs[0], b: b.runs[1] }), b.runs[2] ? h("span", { class: "badge failed" }, `${b.runs[2]} ${t("failed")}`) : null),
        h("td", { class: "num val" }, spreadText(b.val)), h("td", { class: "val" }, strip(one.runs.filter((run) => run[0] === b.name).map((run) => run[5]), domain, b.val[0])),
        h("td", { class: "num val" }, spreadText(b.cross)), h("td", { class: "val said" }, b.against || "–"),
        h("td", { class: "num test" }, spreadText(b.test)), h("td", { class: "num test" }, fixed(b.pooled)),
        h("td", { class: "num spare" }, duration(b.seconds)), h("td", { class: "num spare" }, count(b.parameters)))))), t("sweeps")),
      note(t("sweep_note")),
      h("details", {}, h("summary", {}, `${t("each_run")} (${one.runs.length})`), scroller(h("table", { class: "plain" }, h("tbody", {}, one.runs.map((run) => h("tr", {},
        h("th", { scope: "row" }, known_runs.has(`${experimentOf(one.id)}/${run[3]}`) ? h("a", { href: pageOf({ id: `${experimentOf(one.id)}/${run[3]}` }) }, run[3]) : run[3]),
        h("td", {}, `${run[0]} · ${run[1]} · seed ${run[2]}`), h("td", {}, run[4]), h("td", { class: "num" }, fixed(run[5])), h("td", { class: "faint" }, run[6]))))), t("each_run"))),
      picturesOf(one.id, one.pictures), faultList(one.faults));
  }));
}

function studiesSection(data) {
  if (!data.studys.length) return null;
  return section("searches", t("searches"), data.studys.map((one) => {
    const counts = one.counts || {}, best = one.best || {};
    return h("article", { class: "panel" },
      h("h3", {}, experimentOf(one.id), h("span", { class: "sub" }, ` ${nameOf(one.id)} · ${one.metric || ""} · ${one.sampler || ""}, ${one.pruner || ""} · `), h("span", { class: `badge ${one.state}` }, known(one.state || "")),
        h("span", { class: "sub" }, ` ${t("runs_of", { a: counts.n_trials || 0, b: one.target || "–" })} ${t("trials")}`), one.state === "running" ? h("span", { class: "sub" }, ` · ${t("beat", { beat: ago(one.beat) })}`) : null),
      isNumber(best.value) ? h("p", {}, h("b", {}, t("best_trial", { n: best.trial, v: general(best.value) })), ` ${t(best.by === "confirmation" ? "by_confirmation" : "by_search")}. `,
        h("span", { class: "settings" }, Object.entries(best.settings || {}).map(([name, value]) => h("code", {}, `${name} = ${value}`)))) : null,
      h("div", { class: "multiples" }, scatter(t("history"), one.trials || [], one.direction === "maximize"),
        h("figure", { class: "chart" }, h("figcaption", {}, t("what_mattered")), one.importances && one.importances.length ? bars(one.importances, t("what_mattered"), (v) => fixed(v, 2)) : h("p", { class: "faint" }, t("importance_few")))),
      h("h4", {}, t("confirmation")), confirmation(one), picturesOf(one.id, one.pictures),
      one.pages && one.pages.length ? h("p", {}, `${t("plots")}: `, one.pages.map((name) => [h("a", { href: rootPath() + path(one.id, "html", name) }, name.replace(".html", "").replace(/_/g, " ")), " "])) : null,
      Object.entries(one.errors || {}).map(([line, n]) => note(`${n} × ${line}`, "warn")), faultList(one.faults));
  }));
}

function confirmation(one) {
  const found = one.confirm;
  if (!found) return note(t("not_confirmed", { n: (one.counts || {}).complete || 0 }), "warn");
  const values = found.rows.flatMap((row) => [...row[4], row[3]]), domain = scaleOf(values, 0.08);
  const gain = found.gain;
  return [scroller(h("table", { class: "plain" }, h("thead", {}, h("tr", {}, h("td", {}), h("th", { scope: "col" }, t("mean_sd")), h("th", { scope: "col" }, t("each_run")), h("th", { scope: "col" }, t("in_search")))),
    h("tbody", {}, found.rows.map((row) => h("tr", {}, h("th", { scope: "row" }, row[0] < 0 ? t("base_settings") : t("trial", { n: row[0] })), h("td", { class: "num" }, spreadText([row[1], row[2]])),
      h("td", {}, strip(row[4], domain, row[1])), h("td", { class: "num" }, fixed(row[3])))))), t("confirmation")),
  h("p", {}, isNumber(found.luck) ? t(found.luck > 0 ? "luck" : "luck_none", { d: signed(found.luck) }) : found.why),
  isNumber(gain[0]) ? h("p", {}, t("gain", { m: signed(gain[0]), e: fixed(gain[1]), n: gain[2] }), gain[0] < 2 * gain[1] ? ` · ${t("gain_none")}` : "") : null];
}

function importancesSection(data) {
  if (!data.importances.length) return null;
  return section("importances", t("importances"), data.importances.map((one) => h("article", { class: "panel" },
    h("h3", {}, experimentOf(one.id), h("span", { class: "sub" }, ` ${nameOf(one.id)} · ${one.data ? `${one.data[0]} ${t("samples")}, ${one.data[1].slice(0, 10)} – ${one.data[2].slice(0, 10)}` : ""} `), h("span", { class: `badge ${one.state}` }, known(one.state || ""))),
    one.verdict ? h("p", { class: "strong" }, one.verdict) : h("p", { class: "faint" }, one.why), (one.warnings || []).map((line) => note(line, "warn")),
    one.columns ? h("div", { class: "multiples" },
      h("figure", { class: "chart" }, h("figcaption", {}, h("span", {}, t("permutation")), h("span", { class: "legend" }, key("base", t("null95")))), bars(one.columns.map((c) => [c[0], c[1], c[3], c[5]]), t("permutation"))),
      h("figure", { class: "chart" }, h("figcaption", {}, t("against_chance")), bars([[t("folds"), one.mean, null, true], ...(one.null.length ? [[t("shuffled"), Math.max(...one.null.filter(isNumber))]] : []),
        ...Object.entries(one.baselines).map(([name, value]) => [known(name), value]), [t("last_block"), one.test[0], null, true]], t("against_chance"), (v) => fixed(v)))) : null,
    picturesOf(one.id, one.pictures), faultList(one.faults))));
}

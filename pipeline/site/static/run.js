"use strict";
// The page of one run.
function drawRun(told) {
  const { row } = told, names = row.labels || [];
  const sections = [tiles(told), unfinished(told), scoresSection(told), classesSection(told, names), partsSection(told), worstSection(told), curvesSection(told), pairsSection(told),
    settingsSection(told), picturesSection(told), originSection(told), environmentSection(told)].filter(Boolean);
  const links = sections.filter((one) => one.id).map((one) => h("a", { href: `#${one.id}` }, one.querySelector("h2").textContent));
  fill(document.body, header(`${nameOf(row.id)} – ${experimentOf(row.id)} – Isobar`, true), h("nav", { "aria-label": nameOf(row.id) }, links),
    h("main", { id: "main" }, h("div", { class: "headline" }, h("h1", {}, nameOf(row.id)), badge(row),
      h("p", { class: "faint" }, `${experimentOf(row.id)} · ${moment(row.began)} · ${duration(row.seconds)} · ${row.host || ""}`, isNumber(row.parameters) ? ` · ${count(row.parameters)} ${t("parameters")}` : "", isNumber(row.seed) ? ` · seed ${row.seed}` : "", row.fold && row.fold !== "default" ? ` · fold ${row.fold}` : "")), sections));
}

function domainOf(told) {
  const splits = [told.val, told.test].filter(Boolean);
  const values = splits.flatMap((split) => [...split.f, split.base.f]).filter(isNumber);
  return values.length ? [Math.max(0, Math.floor(Math.min(...values) * 10) / 10), Math.min(1, Math.ceil(Math.max(...values) * 10 + 1e-9) / 10)] : [0, 1];
}

function tiles(told) {
  const domain = domainOf(told);
  const made = [["val", "val_head", "tuned_note"], ["test", "test_head", "test_note"]].filter(([split]) => told[split]).map(([name, title, said]) => {
    const split = told[name], up = split.up.f, sure = isNumber(up[1]) ? up[1] > 0 : up[0] > 0;
    return h("article", { class: `tile ${name}` }, h("h2", {}, key(name, t(title))),
      h("p", { class: "hero" }, fixed(first(split.f)), h("span", { class: "unit" }, t("f1"))),
      h("p", {}, intervalPlot(split.f, split.base.f, domain, name, 260), h("br"), h("span", { class: "faint small" }, `${fixed(domain[0], 1)} – ${fixed(domain[1], 1)} · `,
        isNumber(split.f[1]) ? `${range(split.f)} (${method(split)})` : "")),
      h("ul", { class: "signs" }, sign(sure ? "good" : "bad", t(sure ? "beats" : "beats_not", { d: signed(up[0]), name: known(split.by), ci: rangeSigned(up) })),
        name === "val" && isNumber(told.row.cross) ? flatterySign(first(split.f), told.row.cross) : null,
        split.warn.map((line) => sign("bad", warningText(line)))),
      h("p", { class: "faint small" }, `${span(split)}. ${t(said)}`));
  });
  return made.length ? h("div", { class: "tiles" }, made) : null;
}

function method(split) {
  const [confidence, resamples, days] = split.sure;
  return t(split.dated ? "ci" : "ci_single", { p: `${Math.round(confidence * 100)} %`, n: resamples, b: days });
}

function unfinished(told) {
  const { row } = told, why = row.state === "done" ? "" : whyOf(row);
  const text = why || (row.state === "trained" ? t("no_scores") : "");
  const fallback = told.ran && told.ran.stand_in ? note(t("stand_in", { why: told.ran.stand_in }), "warn") : null;
  if (!text && !told.faults.length && !fallback) return null;
  return h("div", {}, text ? note(text, "warn") : null, fallback, faultList(told.faults));
}

function scoresSection(told) {
  const splits = ["val", "test"].filter((name) => told[name]);
  if (!splits.length) return null;
  const any = told[splits[0]], keys = ["f", "m", "a", "x"], labels = { f: t("f1"), m: t("map"), a: t(told.row.kind === "single_label" ? "accuracy" : "micro"), x: t("excluding", { names: any.excluded.join(", ") }) };
  const baselines = Object.keys(any.baselines);
  const line = (k) => h("tr", {}, h("th", { scope: "row" }, labels[k]), splits.map((name) => {
    const split = told[name];
    return [h("td", { class: `num ${name} strong` }, fixed(first(split[k])), h("span", { class: "sub block" }, range(split[k]))), h("td", { class: `num ${name}` }, fixed(split.base[k])),
      h("td", { class: `num ${name}` }, signed(first(split.up[k])), h("span", { class: "sub block" }, rangeSigned(split.up[k])))];
  }));
  const others = [["exact", "subset_accuracy"], ["half", "macro_f1_at_half"], ["brier", "brier"], ["brier_before", "brier_before_calibration"], ["ece", "ece"], ["ece_before", "ece_before_calibration"], ["hamming", "hamming_loss"]];
  return section("scores", t("scores"), scroller(h("table", { class: "plain" }, h("caption", { class: "unseen" }, t("scores")), h("thead", {}, h("tr", { class: "over" }, h("td", {}), splits.map((name) => h("th", { class: name, colspan: 3, scope: "colgroup" }, t(`${name}_head`)))),
    h("tr", {}, h("th", { scope: "col" }, t("measure")), splits.map((name) => [h("th", { class: name, scope: "col" }, t("model")), h("th", { class: name, scope: "col" }, t("best_baseline")), h("th", { class: name, scope: "col" }, t("uplift"))]))),
  h("tbody", {}, keys.filter((k) => k !== "x" || any.excluded.length).map(line))), t("scores")),
  h("div", { class: "multiples" },
    h("div", {}, h("h3", {}, t("best_baseline")), scroller(h("table", { class: "plain" }, h("thead", {}, h("tr", {}, h("td", {}), splits.map((name) => ["f", "m"].map((k) => h("th", { scope: "col", class: name }, `${labels[k]}, ${t(`on_${name === "val" ? "validation" : "test"}`)}`))))),
      h("tbody", {}, baselines.map((one) => h("tr", {}, h("th", { scope: "row" }, known(one)), splits.map((name) => [0, 1].map((k) => h("td", { class: `num ${name}` }, fixed((told[name].baselines[one] || [])[k]))))))) ), t("best_baseline"))),
    h("div", {}, h("h3", {}, t("more")), scroller(h("table", { class: "plain" }, h("thead", {}, h("tr", {}, h("td", {}), splits.map((name) => h("th", { scope: "col", class: name }, t(`on_${name === "val" ? "validation" : "test"}`))))),
      h("tbody", {}, isNumber(told.row.cross) ? h("tr", {}, h("th", { scope: "row" }, t("cross_long")), splits.map((name) => h("td", { class: `num ${name}` }, name === "val" ? fixed(told.row.cross) : "–"))) : null,
        others.filter(([, name]) => splits.some((split) => isNumber(told[split].other[name]))).map(([label, name]) => h("tr", {}, h("th", { scope: "row" }, t(label)), splits.map((split) => h("td", { class: `num ${split}` }, fixed(told[split].other[name]))))))), t("more")))));
}

function classesSection(told, names) {
  const splits = ["val", "test"].filter((name) => told[name]);
  if (!splits.length || !names.length) return null;
  const order = names.map((_, k) => k).sort((a, b) => (rank(told, a)) - rank(told, b));
  const plot = (k) => {
    const x = (value) => +(4 + value * 192).toFixed(1);
    return svg(200, 8 + 12 * splits.length, splits.map((name) => `${t(name === "val" ? "on_validation" : "on_test")} ${fixed(told[name].classes.f1[k])}`).join(", "), splits.map((name, line) => {
      const own = told[name].classes, y = 9 + 12 * line, limits = own.limits && own.limits[k], value = own.f1[k];
      return [s("line", { class: "axis", x1: 4, x2: 196, y1: y, y2: y }), own.base && isNumber(own.base[k]) ? s("path", { class: "base", d: `M${x(own.base[k])} ${y - 5}V${y + 5}` }) : null,
        limits && isNumber(limits[0]) ? s("path", { class: `ci ${name}`, d: `M${x(limits[0])} ${y}H${x(limits[1])}` }) : null,
        isNumber(value) ? (name === "test" ? s("path", { class: "dot test", d: `M${x(value)} ${y - 4}l4 4l-4 4l-4 -4z` }) : s("circle", { class: "dot val", cx: x(value), cy: y, r: 3.6 })) : null];
    }));
  };
  const columns = [["n", 0], ["f1", 2], ["precision", 2], ["recall", 2], ["ap", 2]];
  const fitted = told.val && told.val.classes.threshold.some(isNumber);
  return section("classes", t("classes"), h("p", { class: "legendline" }, splits.map((name) => key(name, t(`legend_${name}`))), key("base", t("legend_base"))), scroller(h("table", { class: "plain classes" }, h("caption", { class: "unseen" }, t("classes")), h("thead", {},
    h("tr", { class: "over" }, h("td", { colspan: 2 }), splits.map((name) => h("th", { class: name, colspan: columns.length, scope: "colgroup" }, t(`${name}_head`))), fitted ? h("td", {}) : null),
    h("tr", {}, h("th", { scope: "col" }, t("class")), h("th", { scope: "col" }, t("f1_plot"), h("span", { class: "sub" }, " 0 – 1")), splits.map((name) => columns.map(([c]) => h("th", { scope: "col", class: name }, t(c === "f1" ? "f1_short" : c)))), fitted ? h("th", { scope: "col" }, t("threshold")) : null)),
  h("tbody", {}, order.map((k) => h("tr", {}, h("th", { scope: "row" }, names[k]), h("td", {}, plot(k)), splits.map((name) => columns.map(([c, digits]) => h("td", { class: `num ${name}${c === "f1" ? " strong" : ""}` }, c === "n" ? String(told[name].classes.n[k] ?? "–") : fixed(told[name].classes[c][k], digits)))),
    fitted ? h("td", { class: "num" }, fixed(told.val.classes.threshold[k], 2), told.val.classes.unfitted.includes(k) ? h("span", { class: "flag", title: t("unfitted") }, " *") : null) : null)))), t("classes")),
  fitted && told.val.classes.unfitted.length ? note(`* ${t("unfitted")}`) : null);
}

function rank(told, k) {
  const value = (told.val || told.test).classes.f1[k];
  return isNumber(value) ? value : 2;
}

function partsSection(told) {
  const splits = ["val", "test"].filter((name) => told[name] && Object.keys(told[name].parts).length);
  if (!splits.length) return null;
  const divisions = [...new Set(splits.flatMap((name) => Object.keys(told[name].parts)))].filter((by) => splits.some((name) => (told[name].parts[by] || []).length > 1));
  if (!divisions.length) return null;
  const domain = domainOf({ val: { f: splits.flatMap((name) => Object.values(told[name].parts).flat().flatMap((part) => [part[2], part[3], part[4]])), base: { f: null } } });
  return section("parts", t("parts"), note(t("parts_note")), h("div", { class: "multiples" }, divisions.map((by) => h("div", {}, h("h3", {}, known(by)), splits.filter((name) => told[name].parts[by]).map((name) =>
    scroller(h("table", { class: "plain" }, h("thead", {}, h("tr", {}, h("th", { scope: "col", class: name }, t(name === "val" ? "on_validation" : "on_test")), h("th", { scope: "col", class: "num" }, t("n")), h("th", { scope: "col", colspan: 2 }, t("f1"), h("span", { class: "sub" }, ` ${fixed(domain[0], 1)} – ${fixed(domain[1], 1)}`)), h("th", { scope: "col", class: "num" }, t("map")))),
      h("tbody", {}, told[name].parts[by].map((part) => h("tr", {}, h("th", { scope: "row" }, known(part[0]), part[6] ? h("span", { class: "sub block" }, part[6]) : null), h("td", { class: "num" }, part[1] ?? "–"), h("td", { class: "num" }, fixed(part[2])),
        h("td", {}, intervalPlot(part.slice(2, 5), null, domain, name, 120)), h("td", { class: "num" }, fixed(part[5])))))), `${known(by)} ${name}`))))));
}

function worstSection(told) {
  const { worst } = told;
  if (!worst) return null;
  const split = t(worst.split === "val" ? "on_validation" : "on_test");
  return section("worst", t("worst"), note(t("worst_of", { n: worst.wrong[0], m: worst.wrong[1], split })), h("div", { class: "multiples" },
    scroller(h("table", { class: "plain" }, h("thead", {}, h("tr", {}, ["sample", "truth", "said", "p_label"].map((name) => h("th", { scope: "col", class: name === "p_label" ? "num" : "" }, t(name))))),
      h("tbody", {}, worst.shown.map((one) => h("tr", {}, h("th", { scope: "row" }, one[0]), h("td", {}, one[1] || "–"), h("td", {}, one[2] || "–"), h("td", { class: "num" }, general(one[3])))))), t("worst")),
    worst.confusions.length ? scroller(h("table", { class: "plain" }, h("caption", {}, t("confusions")), h("thead", {}, h("tr", {}, ["missed", "said", "times"].map((name) => h("th", { scope: "col", class: name === "times" ? "num" : "" }, t(name))))),
      h("tbody", {}, worst.confusions.map((one) => h("tr", {}, h("th", { scope: "row" }, one[0]), h("td", {}, one[1]), h("td", { class: "num" }, one[2]))))), t("confusions")) : null));
}

function curvesSection(told) {
  const curves = told.curves || {};
  if (!curves.epoch || curves.epoch.length < 2) return null;
  const line = (name, kind, label) => (curves[name] ? { name: label, kind, values: curves[name] } : null);
  const panels = [[t("loss"), [line("train_loss", "train", t("training")), line("val_loss", "val", t("on_validation"))], { log: true }],
    [t("f1"), [line("train_f1", "train", t("training")), line("val_f1", "val", t("on_validation"))]], [t("map"), [line("val_map", "val", t("on_validation"))], { legend: true }],
    [t("accuracy"), [line("val_accuracy", "val", t("on_validation"))], { legend: true }], [t("learning_rate"), [line("lr", "train", t("learning_rate"))], { log: true }]];
  return section("curves", t("curves"), isNumber(told.row.best_epoch) ? h("p", { class: "faint" }, t("best_epoch", { n: told.row.best_epoch }), told.ran && told.ran.select ? ` · ${t("chosen_by")}: ${told.ran.select}` : "") : null,
    h("div", { class: "multiples" }, panels.map(([title, series, options]) => [title, series.filter(Boolean), options]).filter(([, series]) => series.length).map(([title, series, options]) => lineChart(title, curves.epoch, series, told.row.best_epoch, options))));
}

function pairsSection(told) {
  if (!told.pairs || !told.pairs.length) return null;
  return section("paired", t("paired"), told.pairs.map((pair) => pairPanel(pair)));
}

function pairPanel(pair) {
  const all = pair.splits.flatMap((split) => split.differences.flatMap((one) => one.slice(1, 4))).filter(isNumber), most = Math.max(0.02, ...all.map(Math.abs)) * 1.1;
  return h("article", { class: "panel" }, h("h3", {}, `${nameOf(pair.run)} − ${nameOf(pair.against)}`), pair.splits.map((split) => [
    scroller(h("table", { class: "plain" }, h("thead", {}, h("tr", {}, h("th", { scope: "col", class: split.split }, `${t(split.split === "val" ? "on_validation" : "on_test")}, ${t("n_days", { n: split.n })}`), h("th", { scope: "col" }, t("difference")), h("th", { scope: "col" }, ""), h("th", { scope: "col" }, t("interval", { p: `${Math.round(split.confidence * 100)} %` })), h("th", { scope: "col" }, ""))),
      h("tbody", {}, split.differences.map((one) => h("tr", {}, h("th", { scope: "row" }, one[0]), h("td", { class: "num strong" }, signed(one[1])), h("td", {}, intervalPlot(one.slice(1, 4), 0, [-most, most], split.split, 200)), h("td", { class: "num" }, rangeSigned(one.slice(1, 4))),
        h("td", { class: one[4] ? "strong" : "faint" }, one[4] ? t("is_better", { name: nameOf((one[1] > 0) !== (one[0] === "Brier score") ? pair.run : pair.against) }) : t("no_difference")))))), t("paired")),
    split.notes.map((line) => note(line)), split.caution ? h("p", { class: "faint small" }, split.caution) : null]));
}

function settingsSection(told) {
  const { diff } = told;
  if (!diff) return section("settings", t("settings"), h("p", { class: "faint" }, t("no_other")));
  const other = h("a", { href: pageOf({ id: diff.run, page: diff.page }) }, nameOf(diff.run));
  if (!diff.rows.length) return section("settings", t("settings"), h("p", {}, t("same_settings", { name: nameOf(diff.run) }), " ", other));
  const value = (one) => (one === null || one === undefined ? h("span", { class: "faint" }, t("not_there")) : h("code", {}, one));
  return section("settings", t("settings"), h("p", {}, t(diff.kind === "parent" ? "differs_parent" : "differs_closest"), ": ", other), scroller(h("table", { class: "plain" }, h("caption", { class: "unseen" }, t("settings")),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("setting")), h("th", { scope: "col" }, t("here")), h("th", { scope: "col" }, nameOf(diff.run)))),
    h("tbody", {}, diff.rows.map((row) => h("tr", {}, h("th", { scope: "row" }, h("code", {}, row[0])), h("td", {}, value(row[1])), h("td", {}, value(row[2])))))), t("settings")), diff.more ? h("p", { class: "faint" }, t("and_more", { n: diff.more })) : null);
}

function picturesSection(told) {
  if (!told.pictures.length) return null;
  const folders = new Map();
  for (const name of told.pictures) {
    const folder = name.includes("/") ? name.slice(0, name.lastIndexOf("/")) : "";
    folders.set(folder, [...(folders.get(folder) || []), name]);
  }
  return section("pictures", t("pictures"), [...folders].map(([folder, names]) => [folders.size > 1 ? h("h3", {}, folder) : null, gallery(names.map((name) => [name.slice(folder.length ? folder.length + 1 : 0), rootPath() + path(told.row.id, name)]))]));
}

function originSection(told) {
  const { origin } = told, parts = [];
  const sums = (files) => (files && Object.keys(files).length ? h("details", {}, h("summary", {}, t("checksums")), h("ul", { class: "sums" }, Object.entries(files).map(([name, sum]) => h("li", {}, h("code", {}, `${String(sum)}…`), ` ${name}`)))) : null);
  if (origin && origin.store) parts.push(h("div", {}, h("h3", {}, t("store")), facts([[t("dataset"), origin.store.dataset], [t("version"), h("code", {}, origin.store.version)], [t("samples"), origin.store.samples]]), (origin.store.warnings || []).map((line) => note(line, "warn")), sums(origin.store.files)));
  if (origin && origin.derived) parts.push(h("div", {}, h("h3", {}, t("derived")), facts([[t("version"), h("code", {}, origin.derived.version)], [t("files_n"), origin.derived.files], [t("period"), `${origin.derived.first} – ${origin.derived.last}`], [t("timezone"), origin.derived.timezone], [t("fields"), (origin.derived.fields || []).join(", ")], [t("sources"), (origin.derived.sources || []).map((name) => h("code", { class: "block" }, name))], ["SHA-256 (8)", h("code", {}, origin.derived.sha256_of_all)]])));
  else if (origin && origin.upstream) parts.push(h("div", {}, h("h3", {}, t("upstream")), facts(flatFacts(origin.upstream))));
  if (origin && origin.raw) parts.push(h("div", {}, h("h3", {}, t("raw")), facts([[t("sources"), origin.raw.source], [t("files_n"), origin.raw.files]]), sums(origin.raw.sha256)));
  if (!origin) parts.push(h("p", { class: "faint" }, t("origin_unknown")));
  if (told.inputs) parts.push(h("div", {}, h("h3", {}, t("inputs")), facts(Object.entries(told.inputs).map(([name, channels]) => [name, channels.join(", ")]))));
  if (told.years) parts.push(h("div", {}, h("h3", {}, t("used_for")), facts(Object.entries(told.years).map(([name, years]) => [name, years.length > 3 ? `${years[0]} … ${years[years.length - 1]} (${years.length})` : years.join(", ")]))));
  return section("origin", t("origin"), h("div", { class: "columns" }, parts));
}

function flatFacts(tree, prefix = "") {
  return Object.entries(tree || {}).flatMap(([name, value]) => (value && typeof value === "object" && !Array.isArray(value) ? flatFacts(value, `${prefix}${name} `) : [[prefix + name, Array.isArray(value) ? value.join(", ") : h("code", {}, String(value))]]));
}

function environmentSection(told) {
  const r = told.ran || {};
  return section("environment", t("environment"), facts([[t("command"), r.command ? h("code", {}, `python jobs/${r.command}`) : ""], [t("git"), r.git ? [h("code", {}, r.git.slice(0, 12)), r.dirty ? h("span", { class: "flag" }, ` ⚠ ${t("dirty")}`) : null] : ""],
    [t("host"), told.row.host], [t("slurm"), Object.values(r.slurm || {}).join(" ")], [t("ticket"), r.ticket], [t("began"), moment(told.row.began)], [t("ended"), r.ended ? moment(r.ended) : ""], [t("seconds"), duration(told.row.seconds)], [t("sessions"), r.sessions], [t("memory"), isNumber(told.row.memory) ? `${told.row.memory} MB` : ""],
    [t("exit"), r.exit], [t("weights"), r.weights], [t("packages"), (told.packages || []).map((one) => one.replace("==", " ")).join(" · ")]]),
  h("p", { class: "files" }, `${t("files")}: `, told.files.map((name) => [h("a", { href: rootPath() + path(told.row.id, name) }, name), " "])));
}

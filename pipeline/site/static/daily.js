"use strict";
// Daily classifications: a month of maps, and one day at length.
const diary = {};

function daysSection(data) {
  return data.days.length ? section("days", t("days"), data.days.map(monthPanel)) : null;
}

function monthPanel(one) {
  const months = [...new Set(one.days.map((day) => day.date.slice(0, 7)))].sort();
  const state = diary[one.experiment] || (diary[one.experiment] = { month: months[months.length - 1], day: one.days[one.days.length - 1].date });
  const panel = h("article", { class: "panel", "aria-label": one.experiment });
  const show = () => fill(panel, h("h3", {}, one.experiment), monthSwitch(one, months, state, show), calendar(one, state, show), dayAtLength(one, state));
  show();
  return panel;
}

function monthSwitch(one, months, state, show) {
  const place = months.indexOf(state.month);
  const to = (k) => () => { if (months[k]) { state.month = months[k]; show(); } };
  return h("div", { class: "filters step" }, h("button", { type: "button", class: "plainly", disabled: place <= 0, "aria-label": t("month_prev"), on: { click: to(place - 1) } }, "←"),
    select(`month-${one.experiment}`, t("month"), months.map((month) => [month, month]), state.month, (value) => { state.month = value; show(); }),
    h("button", { type: "button", class: "plainly", disabled: place >= months.length - 1, "aria-label": t("month_next"), on: { click: to(place + 1) } }, "→"));
}

const mapOf = (experiment, day) => `${rootPath()}${path(experiment, "daily", `${day.date}.png`)}`;
const surest = (day) => (day.p && day.p.length ? Math.round(day.p[0][1] * 100) : null);

function calendar(one, state, show) {
  const [year, month] = state.month.split("-").map(Number);
  const before = (new Date(Date.UTC(year, month - 1, 1)).getUTCDay() + 6) % 7, length = new Date(Date.UTC(year, month, 0)).getUTCDate();
  const known_days = new Map(one.days.map((day) => [day.date, day]));
  const cells = [...Array(before).fill(null), ...Array.from({ length }, (_, k) => `${state.month}-${String(k + 1).padStart(2, "0")}`)];
  const weeks = [];
  for (let k = 0; k < cells.length; k += 7) weeks.push(cells.slice(k, k + 7));
  return scroller(h("table", { class: "month" }, h("caption", { class: "unseen" }, `${one.experiment} ${state.month}`), h("thead", {}, h("tr", {}, t("weekdays").split(" ").map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, weeks.map((week) => h("tr", {}, week.map((date) => dayCell(one, known_days.get(date), date, state, show)))))), state.month);
}

function dayCell(one, day, date, state, show) {
  if (!date) return h("td", { class: "none" });
  if (!day) return h("td", { class: "empty" }, h("span", { class: "date" }, String(+date.slice(8))));
  const label = day.state === "done" ? day.labels || t("no_label") : t("not_classified");
  return h("td", { class: `${day.state}${state.day === date ? " chosen" : ""}` }, h("button", { type: "button", "data-day": date, "aria-label": `${date} ${label}`, "aria-pressed": String(state.day === date),
    on: { click: () => { state.day = date; show(); const again = document.querySelector(`[data-day="${date}"]`); if (again) again.focus(); } } },
  h("span", { class: "date" }, String(+date.slice(8)), day.data === "ERA5T" ? h("abbr", { title: t("preliminary") }, "T") : null), h("b", {}, label), surest(day) === null ? null : h("span", { class: "sub" }, `${surest(day)} %`),
  day.map ? h("img", { loading: "lazy", decoding: "async", src: mapOf(one.experiment, day), alt: "" }) : null));
}

function dayAtLength(one, state) {
  const day = one.days.find((item) => item.date === state.day);
  if (!day || !day.date.startsWith(state.month)) return null;
  return h("div", { class: "day" }, h("div", {}, h("h4", {}, day.date), h("p", { class: "strong" }, day.state === "done" ? day.labels || t("no_label") : t("not_classified"), day.data ? h("span", { class: "sub" }, ` · ${day.data}${day.data === "ERA5T" ? ` (${t("preliminary")})` : ""}`) : null),
    day.strange ? note(t("strange", { names: day.strange }), "warn") : null,
    day.was ? h("p", { class: "faint" }, t("was_before", { labels: day.was })) : null, day.why ? note(day.why, "warn") : null,
    day.p ? bars(day.p, t("likeliest"), (value) => `${Math.round(value * 100)} %`) : null,
    day.run ? h("p", { class: "faint small" }, t("made_at", { time: moment(day.made), run: day.run })) : null),
  day.map ? h("a", { href: mapOf(one.experiment, day) }, h("img", { loading: "lazy", src: mapOf(one.experiment, day), alt: t("map_of", { day: day.date }) })) : null);
}

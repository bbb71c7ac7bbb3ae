"use strict";
// Language and theme: by the browser's wish, until a switch is used; kept where the browser allows it.
function remembered(name) { try { return localStorage.getItem(`isobar.${name}`); } catch { return null; } }
function remember(name, value) { try { localStorage.setItem(`isobar.${name}`, value); } catch { /* private windows keep nothing */ } }

function setLanguage(value) {
  language = value === "ja" ? "ja" : "en";
  document.documentElement.lang = language;
}

function setTheme(value) {
  if (value === "light" || value === "dark") document.documentElement.dataset.theme = value;
  else delete document.documentElement.dataset.theme;
}

function choice(name, label, options, current, act) {
  return h("span", { class: "switch", role: "group", "aria-label": label }, options.map(([value, text, lang]) =>
    h("button", { type: "button", lang, "data-choice": `${name}-${value}`, "aria-pressed": String(value === current),
      on: { click: () => { remember(name, value); act(value); draw(); } } }, text)));
}

function header(title, back) {
  document.title = title;
  const asOf = document.documentElement.dataset.asOf;
  return h("header", { class: "top" },
    h("a", { class: "skip", href: "#main" }, t("skip")),
    h("div", { class: "brand" }, back ? h("a", { href: `${rootPath()}index.html`, class: "back" }, `← ${t("all_results")}`) : h("span", { class: "word" }, "Isobar"),
      asOf ? h("span", { class: "asof", title: t("built_note") }, t("as_of", { time: moment(asOf) })) : null),
    h("div", { class: "switches" },
      choice("language", t("language"), [["en", "English", "en"], ["ja", "日本語", "ja"]], language, setLanguage),
      choice("theme", t("theme"), [["auto", t("auto")], ["light", t("light")], ["dark", t("dark")]],
        document.documentElement.dataset.theme || "auto", setTheme)));
}

setTheme(remembered("theme"));
setLanguage(remembered("language") || ((navigator.languages || [navigator.language || "en"])[0] || "en").slice(0, 2));

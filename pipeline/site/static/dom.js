"use strict";
// Elements are made one by one and texts are set as texts: nothing that a file says becomes markup.
let language = "en";

function t(key, values) {
  const both = TEXTS[key];
  const text = both ? both[language === "ja" ? 1 : 0] : key;
  return values ? text.replace(/\{(\w+)\}/g, (_, name) => (values[name] === undefined ? "" : String(values[name]))) : text;
}

function known(key) {
  const name = String(key).replace(/ /g, "_");
  return Object.hasOwn(TEXTS, name) ? t(name) : String(key).replace(/_/g, " ");
}

function put(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "on") for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
    else if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
  return element;
}

function h(name, attributes, ...children) { return put(document.createElement(name), attributes, children); }
function s(name, attributes, ...children) { return put(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children); }
function fill(element, ...children) { element.textContent = ""; return put(element, {}, children); }

const isNumber = (value) => typeof value === "number" && isFinite(value);
const fixed = (value, digits = 3) => (isNumber(value) ? value.toFixed(digits) : "–");
const signed = (value, digits = 3) => (isNumber(value) ? (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits) : "–");
const general = (value) => (isNumber(value) ? String(+value.toPrecision(3)).replace("-", "−") : "–");
const range = (pair) => (pair && isNumber(pair[1]) ? `${fixed(pair[1])} – ${fixed(pair[2])}` : "");
const rangeSigned = (pair) => (pair && isNumber(pair[1]) ? `${signed(pair[1])} … ${signed(pair[2])}` : "");
const first = (pair) => (pair && isNumber(pair[0]) ? pair[0] : null);

function duration(seconds) {
  if (!isNumber(seconds)) return "–";
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

function count(value) {
  if (!isNumber(value)) return "–";
  if (value >= 1e6) return `${(value / 1e6).toFixed(value >= 1e7 ? 0 : 1)} M`;
  return value >= 1e4 ? `${Math.round(value / 1e3)} k` : String(value);
}

function moment(text) { return text ? text.replace("T", " ").replace(/:\d\dZ$/, " UTC") : "–"; }

function ago(text) {
  const age = (Date.now() - Date.parse(text)) / 1000;
  if (!isNumber(age) || age < 0) return moment(text);
  if (age < 120) return t("ago_s", { n: Math.round(age) });
  if (age < 7200) return t("ago_m", { n: Math.round(age / 60) });
  if (age < 172800) return t("ago_h", { n: Math.round(age / 3600) });
  return t("ago_d", { n: Math.round(age / 86400) });
}

function warningText(line) {
  if (language !== "ja") return line;
  for (const [pattern, text] of WARNINGS_JA) if (pattern.test(line)) return line.replace(pattern, text);
  return line;
}

const path = (...parts) => parts.join("/").split("/").map(encodeURIComponent).join("/");
const nameOf = (id) => id.slice(id.indexOf("/") + 1);
const experimentOf = (id) => id.slice(0, id.indexOf("/"));
function rootPath() { return document.documentElement.dataset.root || ""; }
function pageOf(row) { return rootPath() + ".site/runs/" + path(row.page || `${row.id}.html`); }

function scroller(table, label) {
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, table);
}

function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter((pair) => pair[1] !== "" && pair[1] !== null && pair[1] !== undefined)
    .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

function section(id, title, ...children) {
  return h("section", { id, "aria-labelledby": `${id}-h` }, h("h2", { id: `${id}-h` }, title), children);
}

function note(text, kind) { return h("p", { class: `note ${kind || ""}` }, text); }

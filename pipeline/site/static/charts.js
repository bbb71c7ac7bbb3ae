"use strict";
// Small pictures as inline SVG; colours come from the style sheet, so that both themes and print have their own.
function ticks(low, high, most = 5) {
  const span = high - low || 1;
  const raw = span / most;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * unit).find((k) => k >= raw);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-6; value += step) found.push(+value.toPrecision(12));
  return found;
}

function logTicks(low, high) {
  const wide = Math.log10(high / low);
  const steps = wide > 2.5 ? [1] : wide > 0.8 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 8];
  const found = [];
  for (let k = Math.floor(Math.log10(low)); k <= Math.ceil(Math.log10(high)); k++) for (const step of steps) found.push(+(step * 10 ** k).toPrecision(3));
  return found.filter((value) => value >= low * 0.999 && value <= high * 1.001);
}

function scaleOf(values, pad = 0.04) {
  const seen = values.filter(isNumber);
  if (!seen.length) return [0, 1];
  let low = Math.min(...seen), high = Math.max(...seen);
  if (high - low < 1e-9) { low -= Math.abs(low) * 0.05 + 1e-6; high += Math.abs(high) * 0.05 + 1e-6; }
  const more = (high - low) * pad;
  return [low - more, high + more];
}

function svg(width, height, label, ...children) {
  return s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label }, children);
}

// A value with its interval on a common scale, and a mark for the baseline.
function intervalPlot(pair, base, domain, kind, width = 150) {
  const x = (value) => +(4 + ((value - domain[0]) / (domain[1] - domain[0])) * (width - 8)).toFixed(1);
  const parts = [s("line", { class: "axis", x1: 4, x2: width - 4, y1: 9, y2: 9 })];
  if (isNumber(base)) parts.push(s("path", { class: "base", d: `M${x(base)} 3V15` }));
  if (pair && isNumber(pair[1])) parts.push(s("path", { class: `ci ${kind}`, d: `M${x(pair[1])} 9H${x(pair[2])}` }));
  if (pair && isNumber(pair[0])) {
    parts.push(kind === "test" ? s("path", { class: "dot test", d: `M${x(pair[0])} 4.5l4.5 4.5l-4.5 4.5l-4.5 -4.5z` })
      : s("circle", { class: `dot ${kind}`, cx: x(pair[0]), cy: 9, r: 4 }));
  }
  const told = `${fixed(first(pair))} ${pair && isNumber(pair[1]) ? `(${range(pair)})` : ""}`;
  return svg(width, 18, told, parts);
}

function spark(values, width = 84, height = 22) {
  const seen = values.filter(isNumber);
  if (seen.length < 2) return h("span", { class: "faint" }, "–");
  const [low, high] = scaleOf(seen, 0);
  const x = (k) => (2 + (k / (values.length - 1)) * (width - 4)).toFixed(1);
  const y = (value) => (height - 3 - ((value - low) / (high - low)) * (height - 6)).toFixed(1);
  const points = values.map((value, k) => (isNumber(value) ? `${x(k)},${y(value)}` : null)).filter(Boolean).join(" ");
  return svg(width, height, `${fixed(seen[0])} → ${fixed(seen[seen.length - 1])}`, s("polyline", { class: "line val", points }));
}

// Lines over epochs; series: [{name, kind, values}].
function lineChart(title, xs, series, mark, options = {}) {
  const width = options.width || 330, height = 190, left = 46, right = 10, top = 10, bottom = 26;
  let [low, high] = scaleOf(series.flatMap((one) => one.values));
  const log = options.log && low > 0 && Math.min(...series.flatMap((one) => one.values).filter((v) => isNumber(v) && v > 0)) > 0;
  const f = log ? Math.log10 : (v) => v;
  if (log) { const seen = series.flatMap((one) => one.values).filter((v) => isNumber(v) && v > 0); low = Math.min(...seen); high = Math.max(...seen); if (low === high) { low /= 2; high *= 2; } }
  const x0 = Math.min(...xs), x1 = Math.max(...xs, x0 + 1);
  const x = (value) => (left + ((value - x0) / (x1 - x0)) * (width - left - right)).toFixed(1);
  const y = (value) => (top + (1 - (f(value) - f(low)) / (f(high) - f(low) || 1)) * (height - top - bottom)).toFixed(1);
  const yTicks = log ? logTicks(low, high) : ticks(low, high, 4);
  const grid = (yTicks.length ? yTicks : [low, high]).map((value) => [
    s("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }),
    s("text", { class: "tick", x: left - 6, y: +y(value) + 3.5, "text-anchor": "end" }, log && (value < 1e-3 || value >= 1e4) ? value.toExponential(0).replace("-", "−") : general(value))]);
  const bottomTicks = ticks(x0, x1, 5).filter(Number.isInteger).map((value) =>
    s("text", { class: "tick", x: x(value), y: height - 10, "text-anchor": "middle" }, String(value)));
  const marked = isNumber(mark) && mark >= x0 && mark <= x1 ? [s("line", { class: "mark", x1: x(mark), x2: x(mark), y1: top, y2: height - bottom })] : [];
  const lines = series.map((one) => {
    const points = one.values.map((value, k) => (isNumber(value) && (!log || value > 0) ? `${x(xs[k])},${y(value)}` : null)).filter(Boolean);
    return points.length > 1 ? s("polyline", { class: `line ${one.kind}`, points: points.join(" ") })
      : points.map((point) => s("circle", { class: `dot ${one.kind}`, cx: point.split(",")[0], cy: point.split(",")[1], r: 3 }));
  });
  const legend = series.length > 1 || options.legend ? h("span", { class: "legend" }, series.map((one) => key(one.kind, one.name))) : null;
  return h("figure", { class: "chart" }, h("figcaption", {}, h("span", {}, title), legend), svg(width, height, title, grid, bottomTicks, marked, lines));
}

function key(kind, name) {
  const mark = kind === "test" ? s("path", { class: "dot test", d: "M6 1.5l4.5 4.5l-4.5 4.5l-4.5 -4.5z" })
    : kind === "base" ? s("path", { class: "base", d: "M6 1V11" })
    : kind === "train" ? s("path", { class: "line train", d: "M0 6H12" }) : s("circle", { class: `dot ${kind}`, cx: 6, cy: 6, r: 4 });
  return h("span", { class: "key" }, s("svg", { width: 12, height: 12, "aria-hidden": "true" }, mark), name);
}

// Horizontal bars with a mark; rows: [name, value, mark, strong].
function bars(rows, label, format = general) {
  const high = Math.max(1e-12, ...rows.map((row) => Math.max(row[1] || 0, row[2] || 0)));
  const low = Math.min(0, ...rows.map((row) => row[1] || 0));
  const x = (value) => +((value - low) / (high - low) * 196 + 2).toFixed(1);
  return h("table", { class: "bars" }, h("caption", { class: "unseen" }, label), h("tbody", {}, rows.map(([name, value, mark, strong]) =>
    h("tr", { class: strong ? "strong" : "" }, h("th", { scope: "row" }, name), h("td", {}, svg(200, 14, `${name} ${format(value)}`,
      isNumber(value) ? s("rect", { class: `bar${strong ? "" : " weak"}`, x: Math.min(x(0), x(value)), y: 2, width: Math.abs(x(value) - x(0)), height: 10 }) : null,
      isNumber(mark) ? s("path", { class: "base", d: `M${x(mark)} 0V14` }) : null)), h("td", { class: "num" }, format(value))))));
}

// Dots of several values in a line, with their mean.
function strip(values, domain, mean, width = 190) {
  const x = (value) => (5 + ((value - domain[0]) / (domain[1] - domain[0] || 1)) * (width - 10)).toFixed(1);
  return svg(width, 18, values.map((value) => fixed(value)).join(", "), s("line", { class: "axis", x1: 4, x2: width - 4, y1: 9, y2: 9 }),
    values.filter(isNumber).map((value) => s("circle", { class: "dot val faded", cx: x(value), cy: 9, r: 3.5 })),
    isNumber(mean) ? s("path", { class: "mean", d: `M${x(mean)} 2V16` }) : null);
}

// Values in the order they came, the best so far as a line.
function scatter(title, trials, maximize) {
  const width = 420, height = 180, left = 46, right = 8, top = 10, bottom = 24;
  const seen = trials.filter((one) => isNumber(one[2]));
  if (!seen.length) return null;
  const [low, high] = scaleOf(seen.map((one) => one[2]));
  const last = Math.max(1, ...trials.map((one) => one[0]));
  const x = (value) => (left + (value / last) * (width - left - right)).toFixed(1);
  const y = (value) => (top + (1 - (value - low) / (high - low)) * (height - top - bottom)).toFixed(1);
  let best = null;
  const steps = [];
  for (const [number, state, value] of seen) {
    if (state !== "COMPLETE") continue;
    if (best === null || (maximize ? value > best : value < best)) { steps.push(best === null ? `M${x(number)} ${y(value)}` : `H${x(number)}V${y(value)}`); best = value; }
  }
  if (steps.length) steps.push(`H${width - right}`);
  return h("figure", { class: "chart" }, h("figcaption", {}, h("span", {}, title)), svg(width, height, title,
    ticks(low, high, 4).map((value) => [s("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }),
      s("text", { class: "tick", x: left - 6, y: +y(value) + 3.5, "text-anchor": "end" }, general(value))]),
    ticks(0, last, 6).filter(Number.isInteger).map((value) => s("text", { class: "tick", x: x(value), y: height - 8, "text-anchor": "middle" }, String(value))),
    s("path", { class: "line val", d: steps.join("") }),
    seen.map(([number, state, value]) => s("circle", { class: `dot ${state === "COMPLETE" ? "val" : "hollow"}`, cx: x(number), cy: y(value), r: 3.2 }))));
}

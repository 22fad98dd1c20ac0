// Charts: uPlot with our colours, gaps that stay gaps, a tooltip, and keyboard access to its points.

import uPlot from "uplot";
import { h } from "./dom";
import { count, short } from "./numbers";
import { clock, day, dayShort, moment, momentLong, DAY, zone } from "./time";

export type Values = (number | null)[];

export interface Line {
  label: string;
  colour: string;
  /** One for each time; `null` is a gap. */
  values: Values;
}

export interface Chart {
  /** Milliseconds. */
  times: number[];
  lines: Line[];
  kind: "lines" | "bars";
  height: number;
  /** What it shows, for who cannot see it. */
  name: string;
  /** Times of bars without any data at all, which is not zero. */
  voids?: boolean[];
  onRange?: (start: number, end: number) => void;
}

/** The colours of lines, apart from each other in both themes. */
export function palette(): string[] {
  return Array.from({ length: 8 }, (_, index) => colour(`--c${index}`));
}

export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

const live = new Set<{ destroy(): void }>();

/** Frees the charts of the view before. */
export function clear(): void {
  live.forEach((one) => one.destroy());
  live.clear();
}

/** Columns as they are drawn: bars lie upon each other, so each is drawn up to its sum, the highest first. */
function columns(chart: Chart): uPlot.AlignedData {
  const times = chart.times.map((time) => time / 1000);
  if (chart.kind === "lines") return [times, ...chart.lines.map((line) => line.values)] as uPlot.AlignedData;
  const sums = new Float64Array(times.length);
  const stacked = chart.lines.map((line) => line.values.map((value, index) => {
    if (value === null) return null;
    sums[index] = sums[index]! + value;
    return sums[index]!;
  }));
  return [times, ...stacked.reverse()] as uPlot.AlignedData;
}

/** Steps of an axis of counts. */
const WHOLE = Array.from({ length: 15 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();

function splits(range: number): (u: uPlot, values: number[]) => string[] {
  return (_, values) => values.map((seconds, index) => {
    const ms = seconds * 1000;
    const previous = index > 0 ? values[index - 1]! * 1000 : null;
    if (range > 3 * DAY) return previous !== null && day(previous) === day(ms) ? clock(ms) : dayShort(ms);
    return previous === null || day(previous) !== day(ms) ? `${clock(ms)}\n${dayShort(ms)}` : clock(ms);
  });
}

/** Draws a chart into a place that is in the document. */
export function draw(place: HTMLElement, chart: Chart): void {
  const [soft, rule, tint] = ["--soft", "--rule", "--void"].map(colour) as [string, string, string];
  const font = `11.5px ${getComputedStyle(document.body).fontFamily}`;
  const first = chart.times[0] ?? 0, last = chart.times[chart.times.length - 1] ?? 1;
  const step = chart.times.length > 1 ? chart.times[1]! - first : 60_000;
  const lines = chart.kind === "bars" ? [...chart.lines].reverse() : chart.lines;
  const bars = uPlot.paths.bars!({ size: [0.82, 40, 1], align: -1 });
  const tip = h("div", { class: "tip", "aria-hidden": "true" });
  tip.hidden = true;

  const options: uPlot.Options = {
    width: Math.max(200, place.clientWidth), height: chart.height, legend: { show: false }, tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), zone()),
    padding: [10, 20, 0, 0],
    scales: {
      x: { time: true, range: () => chart.kind === "bars" ? [(first - step) / 1000, last / 1000] : [first / 1000, Math.max(last, first + 1) / 1000] },
      y: { range: (_, low, high) => chart.kind === "bars" ? [0, high > 0 ? high * 1.06 : 1] : bounds(low, high) },
    },
    axes: [
      { stroke: soft, font, grid: { show: false }, ticks: { stroke: rule, width: 1, size: 4 }, size: last - first > 3 * DAY ? 24 : 38, gap: 4, space: 64, values: splits(last - first) },
      { stroke: soft, font, grid: { stroke: rule, width: 1 }, ticks: { show: false }, gap: 6, space: 34, ...(chart.kind === "bars" ? { incrs: WHOLE } : {}), size: (_, values) => Math.max(34, 12 + 7 * Math.max(...(values ?? []).map((own) => own.length), 0)), values: (_, values) => values.map(short) },
    ],
    cursor: {
      drag: { x: chart.onRange !== undefined, y: false, setScale: false }, focus: { prox: chart.kind === "lines" ? 24 : -1 },
      points: { show: chart.kind === "lines", size: 6 }, y: false,
    },
    focus: { alpha: 0.35 },
    series: [{}, ...lines.map((line): uPlot.Series => chart.kind === "bars"
      ? { label: line.label, stroke: "transparent", width: 0, fill: line.colour, paths: bars, points: { show: false } }
      // A value with gaps on both sides would be invisible as a line: it gets a point.
      : { label: line.label, stroke: line.colour, width: 1.6, spanGaps: false, points: { show: lone(line.values), size: 4, fill: line.colour } })],
    hooks: {
      drawClear: chart.voids ? [(u) => voids(u, chart.times, chart.voids!, step, tint)] : [],
      draw: [() => performance.mark("annals-drawn")],
      setCursor: [(u) => point(u, chart, tip)],
      setSelect: [(u) => {
        if (!chart.onRange || u.select.width < 4) return;
        const at = (px: number) => u.posToVal(px, "x") * 1000;
        chart.onRange(at(u.select.left), at(u.select.left + u.select.width));
      }],
    },
  };
  const u = new uPlot(options, columns(chart), place);
  u.over.appendChild(tip);
  // By keyboard: arrows go from point to point, and what is read there is said.
  const said = h("p", { class: "sr", role: "status" });
  place.append(said);
  u.root.tabIndex = 0;
  u.root.setAttribute("role", "img");
  u.root.setAttribute("aria-label", `${chart.name}. ${chart.lines.length} series from ${momentLong(first)} to ${momentLong(last)}. Arrow keys read its points.`);
  u.root.addEventListener("keydown", (event) => {
    const move = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10 }[event.key];
    if (move === undefined) return;
    event.preventDefault();
    const at = Math.min(chart.times.length - 1, Math.max(0, (u.cursor.idx ?? (move > 0 ? -1 : chart.times.length)) + move));
    u.setCursor({ left: u.valToPos(chart.times[at]! / 1000, "x") - (chart.kind === "bars" ? 1 : 0), top: 10 });
    const line = (own: Element) => own.childElementCount ? [...own.children].map((part) => part.textContent).filter(Boolean).join(": ") : own.textContent;
    said.textContent = [...tip.children].map(line).join(", ");
  });
  const resized = new ResizeObserver(() => {
    const width = Math.max(200, place.clientWidth);
    if (width !== u.width) u.setSize({ width, height: chart.height });
  });
  resized.observe(place);
  live.add({ destroy: () => { resized.disconnect(); u.destroy(); } });
}

/** Whether some value has a gap on both sides. */
function lone(values: Values): boolean {
  for (let i = 0; i < values.length; i++) {
    if (values[i] !== null && (values[i - 1] ?? null) === null && (values[i + 1] ?? null) === null) return true;
  }
  return false;
}

function bounds(low: number, high: number): [number, number] {
  if (low === null || high === null || !Number.isFinite(low) || !Number.isFinite(high)) return [0, 1];
  if (low === high) return low === 0 ? [0, 1] : [Math.min(0, low * 1.5), Math.max(0, high * 1.5)];
  const room = (high - low) * 0.06;
  // Zero belongs to what is near to it.
  return [low >= 0 && low < high * 0.4 ? 0 : low - room, high + room];
}

function voids(u: uPlot, times: number[], isVoid: boolean[], step: number, tint: string): void {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.fillStyle = tint;
  times.forEach((time, index) => {
    if (!isVoid[index]) return;
    const left = u.valToPos((time - step) / 1000, "x", true), right = u.valToPos(time / 1000, "x", true);
    ctx.fillRect(left, bbox.top, right - left, bbox.height);
  });
  ctx.restore();
}

/** The largest lists that a tooltip has. */
const TIP_LINES = 10;

function point(u: uPlot, chart: Chart, tip: HTMLElement): void {
  const { idx, left } = u.cursor;
  let at = idx;
  if (chart.kind === "bars" && typeof left === "number" && left >= 0) {
    // A bar lies left of its time.
    const seconds = u.posToVal(left, "x");
    at = chart.times.findIndex((time) => time / 1000 >= seconds);
    if (at < 0) at = null;
  }
  if (at === null || at === undefined || typeof left !== "number" || left < 0) {
    tip.hidden = true;
    return;
  }
  const time = chart.times[at]!;
  const step = chart.times.length > 1 ? chart.times[1]! - chart.times[0]! : 0;
  const sorted = chart.lines.map((line) => ({ line, value: line.values[at!] ?? null }));
  const there = sorted.filter((own) => own.value !== null);
  if (chart.kind === "lines") there.sort((a, b) => b.value! - a.value!);
  else there.reverse();
  const write = chart.kind === "bars" ? count : short;
  tip.replaceChildren(
    h("p", { class: "tip-time" }, chart.kind === "bars"
      ? step >= DAY ? `${moment(time - step)} to ${moment(time)}` : `${moment(time - step)} to ${clock(time)}`
      : momentLong(time)),
    ...(there.length ? there.slice(0, TIP_LINES).map(({ line, value }) => h("p", { class: "tip-line" },
      h("i", { style: { background: line.colour } }), h("span", {}, line.label), h("b", {}, write(value!)), " ")) : [h("p", {}, "no data")]),
    ...(there.length > TIP_LINES ? [h("p", { class: "soft" }, `and ${there.length - TIP_LINES} more`)] : []));
  tip.hidden = false;
  const width = tip.offsetWidth, room = u.over.clientWidth;
  const x = left + 14 + width > room ? Math.max(0, left - width - 14) : left + 14;
  tip.style.transform = `translate(${Math.round(x)}px, 6px)`;
}

/** The key to the colours of a chart. */
export function legend(lines: { label: string; colour: string }[]): HTMLElement {
  return h("ul", { class: "legend" }, lines.map((line) =>
    h("li", {}, h("i", { style: { background: line.colour } }), line.label)));
}

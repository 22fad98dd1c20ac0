// How a query is answered: its parts within each other, and what each took.

import { Child, h } from "../dom";
import { bytes, count, plural, took } from "../numbers";
import { marked, notices } from "../pieces";
import { duration, momentLong } from "../time";

interface Span { from: number; to: number }

interface Part {
  depth: number;
  what: string;
  selector: null | {
    range: Span; series: number; coarser: { range: Span; tier: string }[];
    windows: number; chunks_decoded: number; chunks_skipped: number; samples: number; bytes: number;
  };
  cost: null | { nanoseconds: number; series: number; memory_bytes: number };
}

export interface Explanation { parts: Part[]; memory_bytes_peak: number; warnings: string[] }

export function explainTree(found: Explanation): Child {
  const whole = found.parts[0]?.cost?.nanoseconds ?? 0;
  return [
    h("p", { class: "said" }, [took(whole / 1e9), `${bytes(found.memory_bytes_peak)} of memory at most`].join(" · ")),
    notices(found.warnings, []),
    h("div", { class: "table", tabindex: "0", role: "region", "aria-label": "Parts of the query" }, h("table", { class: "tree" },
      h("thead", {}, h("tr", {}, ["Part", "Time with its parts", "Series", "Memory"].map((title, index) =>
        h("th", { scope: "col", class: index === 2 || index === 3 ? "number" : index === 0 ? "wide" : null }, title)))),
      h("tbody", {}, found.parts.map((part) => row(part, whole))))),
    h("p", { class: "soft small" }, "The query was run for this. A part's time includes that of the parts within it; a part that stands there twice is computed once."),
  ];
}

function row(part: Part, whole: number): HTMLElement {
  const share = part.cost && whole > 0 ? part.cost.nanoseconds / whole : 0;
  return h("tr", {},
    h("td", { class: "wide" }, h("div", { class: "node", style: { "padding-left": `${part.depth * 22}px` } },
      h("span", {}, marked(part.what)), part.selector ? h("ul", { class: "reads" }, reads(part.selector).map((line) => h("li", {}, line))) : null)),
    h("td", {}, part.cost ? h("span", { class: "time" }, h("span", { class: "bar" }, h("span", { style: { width: `${Math.max(0.5, 100 * share)}%` } })),
      h("span", { class: "number" }, took(part.cost.nanoseconds / 1e9))) : h("span", { class: "soft" }, "–")),
    h("td", { class: "number" }, part.cost ? count(part.cost.series) : "–"),
    h("td", { class: "number" }, part.cost ? bytes(part.cost.memory_bytes) : "–"));
}

function reads(selector: NonNullable<Part["selector"]>): string[] {
  const lines = [`${plural(selector.series, "series", "series")} with samples from ${momentLong(selector.range.from)} to ${momentLong(selector.range.to)}`];
  for (const { range, tier } of selector.coarser) lines.push(`${duration(range.to - range.from)} from ${momentLong(range.from)} out of the ${tier} tier`);
  if (selector.windows) lines.push(`${plural(selector.windows, "window")} of rollups`);
  if (selector.chunks_skipped) lines.push(`${plural(selector.chunks_skipped, "chunk")} by their aggregates, not decoded`);
  if (selector.chunks_decoded) lines.push(`${plural(selector.chunks_decoded, "chunk")} decoded: ${count(selector.samples)} samples, ${bytes(selector.bytes)}`);
  else if (selector.samples) lines.push(`${plural(selector.samples, "sample")} in memory`);
  return lines;
}

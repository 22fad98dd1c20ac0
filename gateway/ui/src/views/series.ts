// How many series there are, what makes them so many, and which questions cost most.

import { Who, get } from "../api";
import { Child, fill, h } from "../dom";
import { bytes, count, took } from "../numbers";
import { bar, empty, figure, heading, show, table } from "../pieces";
import { link } from "../state";
import { moment } from "../time";

interface Entry { name: string; value: number }

interface Status {
  headStats: { numSeries: number; numLabelPairs: number };
  seriesCountByMetricName: Entry[];
  labelValueCountByLabelName: Entry[];
  memoryInBytesByLabelName: Entry[];
  seriesCountByLabelValuePair: Entry[];
}

/** The gateway remembers more of them; the first are worth a look. */
const QUERIES_SHOWN = 12;

interface Asked { query: string; asked: number; failed: number; seconds: number; seconds_max: number; samples: number; last: number }

export function series(place: HTMLElement, _who: Who, signal: AbortSignal): void {
  const out = h("div", { class: "slot" }), asked = h("div", { class: "slot" });
  fill(place, heading("Series", "What makes up the series of all that is kept, and what the most expensive questions are."), out,
    h("section", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", {}, "Most expensive queries"),
      h("p", { class: "note" }, "asked since the gateway was started, by the time that they took together")), asked));
  void show(out, get<Status>("api/v1/status/tsdb", { limit: 10 }, signal), counts, 360);
  void show(asked, get<Asked[]>("api/annals/queries", {}, signal), queries, 120);
}

function counts(status: Status): Child {
  const total = status.headStats.numSeries;
  if (total === 0) return empty("There are no series yet", "As soon as samples or signals are acknowledged, what they are made of shows here.");
  const selector = (name: string) => link("query", { q: /^[a-zA-Z_:][\w:]*$/.test(name) ? name : `{${JSON.stringify(name)}}`, tab: "table" });
  const pair = (name: string) => {
    const cut = name.indexOf("=");
    return link("query", { q: `count by (__name__) ({${name.slice(0, cut)}=${JSON.stringify(name.slice(cut + 1))}})`, tab: "table" });
  };
  return [
    h("dl", { class: "figures" },
      figure("Series", count(total), "of all times that are kept"),
      figure("Labels with values", count(status.headStats.numLabelPairs), "distinct pairs"),
      figure("Largest metric", count(status.seriesCountByMetricName[0]?.value ?? 0), status.seriesCountByMetricName[0]?.name ?? ""),
      figure("Label with most values", count(status.labelValueCountByLabelName[0]?.value ?? 0), status.labelValueCountByLabelName[0]?.name ?? "")),
    h("div", { class: "pairs" },
      list("Series by metric", status.seriesCountByMetricName, count, selector),
      list("Values by label", status.labelValueCountByLabelName, count),
      list("Series by label and value", status.seriesCountByLabelValuePair, count, pair),
      list("Text by label", status.memoryInBytesByLabelName, bytes)),
  ];
}

function list(title: string, entries: Entry[], write: (value: number) => string, to?: (name: string) => string): HTMLElement {
  const most = Math.max(0, ...entries.map((entry) => entry.value));
  return h("section", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", {}, title)),
    h("ol", { class: "ranks" }, entries.map((entry) => h("li", {},
      h("span", { class: "rank-name" }, to ? h("a", { href: to(entry.name) }, h("code", {}, entry.name)) : h("code", {}, entry.name)),
      h("span", { class: "number" }, write(entry.value)), bar(entry.value, most)))));
}

function queries(all: Asked[]): Child {
  if (!all.length) return h("p", { class: "none" }, "Nobody has asked anything yet");
  const most = Math.max(...all.map((one) => one.seconds));
  return table([
    { title: "Query", wide: true }, { title: "Together", number: true }, { title: "" }, { title: "Asked", number: true }, { title: "Longest", number: true },
    { title: "Samples read", number: true }, { title: "Last" },
  ], all.slice(0, QUERIES_SHOWN).map((one) => [
    h("a", { href: link("query", { q: one.query, tab: "explain" }), title: "Explain it" }, h("code", { class: "long" }, one.query)),
    took(one.seconds), bar(one.seconds, most),
    [count(one.asked), one.failed ? h("span", { class: "share bad-text" }, `${count(one.failed)} failed`) : null],
    took(one.seconds_max), count(one.samples), moment(one.last),
  ]), "Most expensive queries");
}

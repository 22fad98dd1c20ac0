// What happened: traffic, sign-ins, errors and scheduled work, of all sites or of one.

import { Answer, Series, Who, instant, range as askRange } from "../api";
import { Line, Values, colour, draw, legend } from "../chart";
import { Child, fill, h, svg } from "../dom";
import { count, percent, plural } from "../numbers";
import { bar, empty, figure, heading, rangeLead, rangeTools, show, table } from "../pieces";
import { go, link, read } from "../state";
import { Range, between, day, moment, promDuration, range } from "../time";

interface Topic {
  title: string;
  metric: string;
  by: string;
  /** Which line a label's value belongs to, and lines in the order they lie upon each other. */
  group(value: string): string;
  groups: { key: string; label: string; colour: string }[];
  none: string;
}

const plain = (value: string) => value;

const TOPICS: Topic[] = [
  {
    title: "Traffic", metric: "http_requests", by: "status", group: (status) => `${status.charAt(0)}xx`, none: "No requests",
    groups: [
      { key: "2xx", label: "answered (2xx)", colour: "--t0" }, { key: "3xx", label: "redirected (3xx)", colour: "--t1" },
      { key: "4xx", label: "refused (4xx)", colour: "--t2" }, { key: "5xx", label: "failed (5xx)", colour: "--t3" },
    ],
  },
  {
    title: "Sign-ins", metric: "auth_attempts", by: "result", group: plain, none: "No sign-ins",
    groups: [
      { key: "success", label: "succeeded", colour: "--t0" }, { key: "failure", label: "refused", colour: "--t3" },
      { key: "blocked", label: "blocked", colour: "--t2" },
    ],
  },
  {
    title: "Errors", metric: "errors", by: "severity", group: plain, none: "No errors",
    groups: [
      { key: "notice", label: "notice", colour: "--t1" }, { key: "warning", label: "warning", colour: "--t2" },
      { key: "error", label: "error", colour: "--t3" }, { key: "fatal", label: "fatal", colour: "--t4" },
    ],
  },
  {
    title: "Scheduled work", metric: "cron_runs", by: "result", group: plain, none: "No runs",
    groups: [
      { key: "ok", label: "ran", colour: "--t0" }, { key: "late", label: "late", colour: "--t2" },
      { key: "missed", label: "missed", colour: "--t4" }, { key: "failed", label: "failed", colour: "--t3" },
    ],
  },
];

export function overview(place: HTMLElement, who: Who, signal: AbortSignal, again: () => void): void {
  const site = read().params.get("site");
  const own = range();
  // Cells begin at whole multiples, so that a bar does not change while one looks again; the last may not be over.
  const cell = own.choice.cell;
  const end = Math.ceil(own.end / cell) * cell;
  const start = Math.ceil(own.start / cell) * cell + cell;
  const only = site ? `{site=${JSON.stringify(site)}}` : "";
  const figures = h("div", { class: "slot" }), charts = h("div", { class: "charts" }), sites = h("div", { class: "slot" });
  fill(place,
    heading(site ?? "Overview", rangeLead(own), rangeTools(own, who.latest, again)),
    site ? h("p", { class: "crumb" }, h("a", { href: link("overview", { site: null }) }, "‹ All sites"),
      h("a", { href: link("report", { site, r: null, e: null }) }, "Report of this site")) : null,
    figures, charts, site ? null : h("section", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", {}, "Sites")), sites));

  if (who.latest === null) {
    fill(figures, empty("Nothing has come in yet", ["Data shows here as soon as a batch is acknowledged. Sites send signals, collectors send metrics; ",
      "both need a token with the role ", h("code", {}, "ingest"), "."]));
    charts.remove();
    sites.parentElement?.remove();
    return;
  }
  const over = promDuration(own.choice.ms), at = own.end;
  void show(figures, numbers(only, over, at, signal), (got) => {
    // Four empty charts say no more than one sentence.
    charts.hidden = got === null;
    if (sites.parentElement) sites.parentElement.hidden = got === null;
    return got ?? quiet(own, who);
  }, 92);

  for (const topic of TOPICS) {
    const body = h("div", { class: "chart", style: { "min-height": "190px" } });
    const query = `sum by (${topic.by}) (increase(${topic.metric}${only}[${promDuration(cell)}]))`;
    const key = h("div", { class: "key" });
    charts.append(h("section", { class: "panel" },
      h("div", { class: "panel-head" }, h("h2", {}, topic.title),
        h("a", { class: "quiet", href: link("query", { site: null, q: query, r: own.choice.key, step: String(cell / 1000) }) }, "Open as query")),
      key, body));
    const work = Promise.all([askRange(query, start, end, cell, signal),
      askRange(`sum(increase(signals${only}[${promDuration(cell)}]))`, start, end, cell, signal)]);
    void show(body, work, () => null, 190).then(async () => {
      const done = await work.catch(() => null);
      if (!done || signal.aborted) return;
      topicChart(body, key, topic, done[0], done[1], { start, end, cell });
    });
  }
  if (!site) void show(sites, perSite(over, at, { start, end, cell }, signal), (rows) => siteTable(rows, own), 180);
}

function quiet(own: Range, who: Who): Child {
  const newest = who.latest!;
  if (newest > own.start) {
    return empty("No signals in this range", "What there is of it are metrics of the tenant's own, which have no sites.",
      h("button", { class: "primary", onclick: () => go("query", { q: "count by (__name__) ({__name__!=\"\"})", tab: "table" }) }, "See which"));
  }
  return empty("No signals in this range", ["The newest data is of ", h("b", {}, day(newest)), "."],
    h("button", { class: "primary", onclick: () => go("overview", { e: String(newest) }) }, `Show ${own.choice.label} up to ${moment(newest)}`));
}

function total(answer: Answer, keep: (metric: Record<string, string>) => boolean = () => true): number {
  return answer.result.filter((one) => keep(one.metric)).reduce((sum, one) => sum + Number(one.value?.[1] ?? 0), 0);
}

/** The figures on top, each beside what it was in as long a time before. */
async function numbers(only: string, over: string, at: number, signal: AbortSignal): Promise<Child> {
  const both = (metric: string, by: string) => {
    const query = (offset: string) => `sum by (${by}) (increase(${metric}${only}[${over}]${offset}))`;
    return Promise.all([instant(query(""), at, signal), instant(query(` offset ${over}`), at, signal)]);
  };
  const [requests, signIns, errors, runs, signals] = await Promise.all([
    both("http_requests", "status"), both("auth_attempts", "result"), both("errors", "severity"),
    both("cron_runs", "result"), both("signals", "site"),
  ]);
  if (signals[0].result.length === 0) return null;
  // Where nothing at all is known of the time before, there is nothing to compare with.
  const known = signals[1].result.length > 0;
  const failed = (metric: Record<string, string>) => metric.status?.startsWith("5") ?? false;
  const refused = (metric: Record<string, string>) => metric.result !== "success";
  const serious = (metric: Record<string, string>) => metric.severity === "error" || metric.severity === "fatal";
  const wrong = (metric: Record<string, string>) => metric.result !== "ok";
  const one = (label: string, pair: [Answer, Answer], keep: (m: Record<string, string>) => boolean, note: (part: number, all: number) => string, bad: boolean) => {
    if (pair[0].result.length === 0) return figure(label, "–", "no data");
    const [now, before] = [total(pair[0], keep), total(pair[1], keep)];
    return figure(label, count(now), [note(now, total(pair[0])), known ? [h("br"), change(now, before, bad)] : null], bad && worse(now, before) && known ? "bad" : "");
  };
  return h("dl", { class: "figures" },
    one("Requests", requests, () => true, () => `of ${plural(signals[0].result.length, "site")}`, false),
    one("Failed requests", requests, failed, (part, all) => `${percent(part, all)} of requests`, true),
    one("Refused sign-ins", signIns, refused, (part, all) => `${percent(part, all)} of sign-ins`, true),
    one("Errors", errors, serious, (part, all) => `and ${count(all - part)} lesser`, true),
    one("Runs gone wrong", runs, wrong, (_, all) => `of ${plural(all, "scheduled run")}`, true));
}

/** Whether it is so much more than before that somebody should look. */
function worse(now: number, before: number): boolean {
  return now > before * 1.5 && now - before >= 10;
}

function change(now: number, before: number, bad: boolean): Child {
  if (before === 0) return now === 0 ? "none before either" : "none before";
  const ratio = now / before;
  const text = ratio >= 2 ? `${ratio >= 10 ? Math.round(ratio) : ratio.toFixed(1)} times as many as before`
    : Math.abs(ratio - 1) < 0.005 ? "as many as before" : `${percent(Math.abs(now - before), before)} ${now > before ? "more" : "fewer"} than before`;
  return h("span", { class: bad && worse(now, before) ? "worse" : null }, text);
}

/** An answer's points at the times of a grid; what is not there is a gap. */
function onGrid(series: Series, start: number, step: number, length: number): Values {
  const values: Values = new Array(length).fill(null);
  for (const [time, value] of series.values ?? []) {
    const index = Math.round((time * 1000 - start) / step);
    if (index >= 0 && index < length) values[index] = Number(value);
  }
  return values;
}

function topicChart(place: HTMLElement, key: HTMLElement, topic: Topic, answer: Answer, signals: Answer, { start, end, cell }: { start: number; end: number; cell: number }): void {
  const length = Math.floor((end - start) / cell) + 1;
  const times = Array.from({ length }, (_, index) => start + index * cell);
  const groups = new Map<string, Values>();
  for (const series of answer.result) {
    const group = topic.group(series.metric[topic.by] ?? "");
    const sum = groups.get(group) ?? new Array(length).fill(null);
    onGrid(series, start, cell, length).forEach((value, index) => {
      if (value !== null) sum[index] = (sum[index] ?? 0) + value;
    });
    groups.set(group, sum);
  }
  const known = topic.groups.filter((group) => groups.has(group.key));
  const others = [...groups.keys()].filter((own) => !topic.groups.some((group) => group.key === own)).sort();
  const lines: Line[] = [
    ...known.map((group) => ({ label: group.label, colour: colour(group.colour), values: groups.get(group.key)! })),
    ...others.map((label) => ({ label: label || "other", colour: colour("--t5"), values: groups.get(label)! })),
  ];
  if (!lines.length) {
    fill(place, h("p", { class: "none" }, `${topic.none} in this range`));
    return;
  }
  const there = onGrid(signals.result[0] ?? { metric: {} }, start, cell, length);
  const voids = there.map((value) => value === null);
  const now = Date.now();
  // What lies ahead is not missing.
  times.forEach((time, index) => { if (time - cell >= now) voids[index] = false; });
  fill(key, legend([...lines, ...(voids.some(Boolean) ? [{ label: "no data", colour: colour("--void") }] : [])]));
  fill(place);
  draw(place, {
    times, lines, kind: "bars", height: 190, name: topic.title, voids,
    onRange: (from, to) => go("overview", between(from, to)),
  });
}

interface SiteRow { site: string; requests: number | null; failed: number | null; refused: number | null; errors: number | null; wrong: number | null; spark: Values }

async function perSite(over: string, at: number, grid: { start: number; end: number; cell: number }, signal: AbortSignal): Promise<SiteRow[]> {
  const by = (metric: string) => instant(`sum by (site) (increase(${metric}[${over}]))`, at, signal);
  const [signals, requests, failed, refused, errors, wrong, spark] = await Promise.all([
    by("signals"), by("http_requests"), by('http_requests{status=~"5.."}'), by('auth_attempts{result!="success"}'),
    by('errors{severity=~"error|fatal"}'), by('cron_runs{result!="ok"}'),
    askRange(`sum by (site) (increase(http_requests[${promDuration(grid.cell)}]))`, grid.start, grid.end, grid.cell, signal),
  ]);
  const of = (answer: Answer, site: string) => {
    const found = answer.result.find((one) => one.metric.site === site);
    return found?.value ? Number(found.value[1]) : null;
  };
  const length = Math.floor((grid.end - grid.start) / grid.cell) + 1;
  const rows = signals.result.map(({ metric }): SiteRow => {
    const site = metric.site ?? "";
    const line = spark.result.find((one) => one.metric.site === site);
    return {
      site, requests: of(requests, site), failed: of(failed, site), refused: of(refused, site), errors: of(errors, site),
      wrong: of(wrong, site), spark: line ? onGrid(line, grid.start, grid.cell, length) : [],
    };
  });
  return rows.sort((a, b) => (b.requests ?? -1) - (a.requests ?? -1) || a.site.localeCompare(b.site));
}

function siteTable(rows: SiteRow[], own: Range): Child {
  if (!rows.length) return h("p", { class: "none" }, "No site has sent anything in this range");
  const most = Math.max(...rows.map((row) => row.requests ?? 0));
  const number = (value: number | null) => value === null ? h("span", { class: "soft" }, "–") : count(value);
  return table([
    { title: "Site", wide: true }, { title: "Requests", number: true }, { title: `over ${own.choice.label}` }, { title: "Failed", number: true },
    { title: "Refused sign-ins", number: true }, { title: "Errors", number: true }, { title: "Runs gone wrong", number: true },
  ], rows.map((row) => [
    h("a", { href: link("overview", { site: row.site }) }, row.site),
    [number(row.requests), row.requests === null ? null : bar(row.requests, most)],
    sparkline(row.spark),
    row.failed === null ? number(null) : [count(row.failed), row.requests ? h("span", { class: "share" }, percent(row.failed, row.requests)) : null],
    number(row.refused), number(row.errors), number(row.wrong),
  ]), "Sites");
}

/** Requests as a small line; where there is no data it is not drawn. */
function sparkline(values: Values): Child {
  if (!values.length) return null;
  const most = Math.max(1, ...values.map((value) => value ?? 0)), width = 132, height = 24;
  let path = "", open = false;
  values.forEach((value, index) => {
    if (value === null) { open = false; return; }
    const x = (index / Math.max(1, values.length - 1)) * width, y = height - 1.5 - (value / most) * (height - 3);
    path += `${open ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    open = true;
  });
  return svg("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" }, svg("path", { d: path }));
}

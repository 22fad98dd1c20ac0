// One question: a graph, a table, or how it is answered.

import { Answer, Series, Who, instant, post, range as askRange } from "../api";
import { Line, Values, clear, draw, palette } from "../chart";
import { Child, fill, h } from "../dom";
import { editor } from "../editor";
import { count, exact, plural, short, took } from "../numbers";
import { empty, heading, notices, rangeLead, rangeTools, show, table } from "../pieces";
import { amend, go, link, read } from "../state";
import { between, duration, momentLong, promDuration, range, stepFor } from "../time";
import { Explanation, explainTree } from "./explain";

type Tab = "graph" | "table" | "explain";
const TABS: [Tab, string][] = [["graph", "Graph"], ["table", "Table"], ["explain", "Explain"]];
const STEPS = [15, 60, 300, 900, 3600, 21600, 86400];
/** More lines than these do not tell anybody anything. */
const LINES_MAX = 60;
const ROWS_MAX = 500;

/** Whether the query was run out of its editor: then the next look at it goes on there. */
let isTyping = false;

const EXAMPLES: [string, string][] = [
  ["Requests per site and hour", "sum by (site) (increase(http_requests[1h]))"],
  ["Share of requests that fail", 'sum(increase(http_requests{status=~"5.."}[1h])) / sum(increase(http_requests[1h]))'],
  ["Refused sign-ins per hour", 'sum by (site) (increase(auth_attempts{result="failure"}[1h]))'],
  ["Time within which 95 % are answered", "histogram_quantile(0.95, sum by (le, site) (increase(http_response_seconds_bucket[1h])))"],
];

export function query(place: HTMLElement, who: Who, signal: AbortSignal, again: () => void): () => void {
  const { params } = read();
  const text = params.get("q") ?? "";
  const tab = (TABS.find(([key]) => key === params.get("tab"))?.[0]) ?? "graph";
  const own = range("1d");
  const automatic = stepFor(own.choice.ms, 300);
  const asked = Number(params.get("step"));
  const step = Number.isFinite(asked) && asked > 0 ? asked * 1000 : automatic;
  const out = h("div", { class: "slot" });

  const run = () => {
    isTyping = input.element.matches(":focus-within");
    const now = input.text().trim();
    if (now === text) again();
    else go("query", { q: now });
  };
  const input = editor(text, run);
  const stepSelect = h("label", { class: "inline" }, "Step ", h("select", {
    onchange: (event: Event) => go("query", { step: (event.target as HTMLSelectElement).value || null, q: input.text().trim() }),
  }, h("option", { value: "" }, `auto (${promDuration(automatic)})`),
  asked > 0 && !STEPS.includes(asked) ? h("option", { value: asked, selected: true }, promDuration(asked * 1000)) : null,
  STEPS.map((one) => h("option", { value: one, selected: one === asked }, promDuration(one * 1000)))));

  fill(place,
    heading("Query", rangeLead(own), rangeTools(own, who.latest, run)),
    h("div", { class: "ask" }, input.element, h("button", { class: "primary", onclick: run, title: "Enter" }, "Run")),
    h("div", { class: "bar-row" },
      h("div", { class: "tabs", role: "tablist" }, TABS.map(([key, label]) => h("button", {
        role: "tab", "aria-selected": key === tab ? "true" : "false", tabindex: key === tab ? "0" : "-1",
        onclick: () => go("query", { tab: key === "graph" ? null : key, q: input.text().trim() }),
        onkeydown: (event: KeyboardEvent) => tabKey(event),
      }, label))),
      tab === "table" ? null : stepSelect),
    h("div", { role: "tabpanel", "aria-label": TABS.find(([key]) => key === tab)![1] }, out));

  if (isTyping) input.focus();
  isTyping = false;
  if (!text) {
    input.focus();
    fill(out, empty("Ask something", "Start to type: metrics, labels, values and functions are completed. Enter runs, Shift+Enter makes a line.",
      h("ul", { class: "examples" }, EXAMPLES.map(([label, example]) =>
        h("li", {}, h("a", { href: link("query", { q: example }) }, label), h("code", {}, example))))));
    return input.destroy;
  }
  if (tab === "explain") {
    const work = post<Explanation>("api/annals/explain", { query: text, start: own.start / 1000, end: own.end / 1000, step: step / 1000 }, signal);
    void show(out, work, (found) => explainTree(found), 240, text);
  } else if (tab === "table") {
    void show(out, instant(text, own.end, signal), (answer) => [said(answer, own.end), values(answer, own.end)], 240, text);
  } else {
    // Points lie at whole multiples, so that the same question later has them at the same places.
    const end = Math.floor(own.end / step) * step, start = Math.ceil(own.start / step) * step;
    const work = askRange(text, start, end, step, signal);
    void show(out, work, () => null, 320, text).then(async () => {
      const answer = await work.catch(() => null);
      if (answer && !signal.aborted) graph(out, answer, { start, end, step });
    });
  }
  return input.destroy;
}

function tabKey(event: KeyboardEvent): void {
  const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!move) return;
  const tabs = [...(event.currentTarget as HTMLElement).parentElement!.children] as HTMLElement[];
  tabs[(tabs.indexOf(event.currentTarget as HTMLElement) + move + tabs.length) % tabs.length]!.focus();
}

function said(answer: Answer, at: number | null, points?: number): Child {
  const parts = [
    answer.single ? null : plural(answer.result.length, "series", "series"),
    points === undefined ? null : plural(points, "point"),
    at === null ? null : `at ${momentLong(at)}`,
    answer.samples === null ? null : `${count(answer.samples)} samples read`,
    answer.seconds === null ? null : took(answer.seconds),
  ].filter(Boolean);
  return [h("p", { class: "said" }, parts.join(" · ")), notices(answer.warnings, answer.infos)];
}

/** A series as it would be written in a query. */
export function label(metric: Record<string, string>): string {
  const { __name__: name, ...rest } = metric;
  const pairs = Object.entries(rest).map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(", ");
  return `${name ?? ""}${pairs || !name ? `{${pairs}}` : ""}`;
}

function graph(out: HTMLElement, answer: Answer, { start, end, step }: { start: number; end: number; step: number }): void {
  const points = answer.result.reduce((sum, one) => sum + (one.values?.length ?? 0), 0);
  const histograms = answer.result.filter((one) => one.histograms?.length).length;
  if (points === 0) {
    fill(out, said(answer, null, points), histograms
      ? empty("Histograms have no line", ["Ask for a part of them, as ", h("code", {}, "histogram_quantile(0.95, …)"), " or ", h("code", {}, "histogram_count(…)"), "."])
      : empty("No data", "The query is fine, and nothing that is kept answers it in this range."));
    return;
  }
  const length = Math.floor((end - start) / step) + 1;
  const times = Array.from({ length }, (_, index) => start + index * step);
  const colours = palette();
  // Only labels that differ are worth reading.
  const common = shared(answer.result);
  const name = (metric: Record<string, string>) => {
    const rest = Object.fromEntries(Object.entries(metric).filter(([key]) => !common.has(key)));
    return Object.keys(rest).length ? label(rest) : label(metric);
  };
  const lines: (Line & { series: Series })[] = answer.result.slice(0, LINES_MAX).map((series, index) => {
    const values: Values = new Array(length).fill(null);
    for (const [time, value] of series.values ?? []) {
      const at = Math.round((time * 1000 - start) / step);
      const number = Number(value);
      // What is no number has no place on a graph: the table has it.
      if (at >= 0 && at < length && Number.isFinite(number)) values[at] = number;
    }
    return { series, label: name(series.metric), colour: colours[index % colours.length]!, values };
  });
  const hidden = new Set((read().params.get("off") ?? "").split(",").filter(Boolean).map(Number));
  const body = h("div", { class: "chart" });
  const paint = () => {
    clear();
    fill(body);
    draw(body, {
      times, lines: lines.filter((_, index) => !hidden.has(index)), kind: "lines", height: 340, name: "Graph of the query",
      onRange: (from, to) => go("query", { ...between(from, to), step: null, off: null }),
    });
  };
  const toggle = (index: number) => (event: Event) => {
    if ((event.target as HTMLInputElement).checked) hidden.delete(index);
    else hidden.add(index);
    amend({ off: [...hidden].sort((a, b) => a - b).join(",") || null });
    paint();
  };
  fill(out, said(answer, null, points),
    histograms ? notices([], [`${plural(histograms, "series", "series")} of histograms: only their table shows them`]) : null,
    answer.result.length > LINES_MAX ? notices([`The graph shows the first ${LINES_MAX} of ${count(answer.result.length)} series; topk(10, …) finds the largest`], []) : null,
    body,
    table([{ title: "" }, { title: "Series", wide: true }, { title: "last", number: true }, { title: "least", number: true }, { title: "most", number: true }],
      lines.map((line, index) => {
        const there = line.values.filter((value): value is number => value !== null);
        return [
          h("input", { type: "checkbox", checked: !hidden.has(index), onchange: toggle(index), "aria-label": `Show ${line.label}`, style: { "accent-color": line.colour } }),
          h("span", { class: "series" }, h("i", { style: { background: line.colour } }), h("code", {}, line.label)),
          ...[there[there.length - 1], least(there), most(there)].map((value) => value === undefined ? "–" : short(value)),
        ];
      }), "Series"),
    h("p", { class: "soft small" }, `Step ${duration(step)}. Drag over the graph to look closer. A gap is a time without data.`));
  paint();
}

function least(values: number[]): number | undefined {
  return values.length ? values.reduce((a, b) => Math.min(a, b)) : undefined;
}

function most(values: number[]): number | undefined {
  return values.length ? values.reduce((a, b) => Math.max(a, b)) : undefined;
}

/** Labels that all series have with the same value. */
function shared(all: Series[]): Set<string> {
  const [first, ...rest] = all;
  if (!first || !rest.length) return new Set();
  return new Set(Object.entries(first.metric).filter(([key, value]) => rest.every((one) => one.metric[key] === value)).map(([key]) => key));
}

function values(answer: Answer, at: number): Child {
  if (answer.single) {
    return table([{ title: answer.resultType, wide: true }, { title: "Value", number: true }], [[momentLong(at), h("b", {}, exact(answer.single[1]))]]);
  }
  if (!answer.result.length) return empty("No data", "The query is fine, and nothing that is kept answers it at this time.");
  // A column for each label, as long as they fit beside each other.
  const names = [...new Set(answer.result.flatMap((one) => Object.keys(one.metric)))].sort();
  const split = names.length > 0 && names.length <= 7;
  const columns = split ? names.map((name) => ({ title: name === "__name__" ? "metric" : name })) : [{ title: "Series", wide: true }];
  const rows = answer.result.slice(0, ROWS_MAX).map((one) => [
    ...(split ? names.map((name) => h("code", {}, one.metric[name] ?? "")) : [h("code", {}, label(one.metric))]),
    one.values ? one.values.map(([time, value]) => h("div", {}, `${exact(value)} `, h("span", { class: "soft" }, `@ ${momentLong(time * 1000)}`)))
      : one.histogram ? `count ${exact(one.histogram[1].count)}, sum ${exact(one.histogram[1].sum)}`
        : exact(one.value?.[1] ?? "–"),
  ]);
  return [
    table([...columns, { title: "Value", number: true }], rows, "Answer"),
    answer.result.length > ROWS_MAX ? h("p", { class: "soft small" }, `The first ${ROWS_MAX} of ${count(answer.result.length)}.`) : null,
  ];
}

// What views are made of: panels, tables, and what is said while there is nothing to show, or something is wrong.

import { ApiError } from "./api";
import { Child, fill, h } from "./dom";
import { go, read } from "./state";
import { RANGES, Range, momentLong, moment, zone } from "./time";

export function heading(title: string, lead: Child, ...tools: Child[]): HTMLElement {
  return h("header", { class: "heading" },
    h("div", {}, h("h1", { tabindex: "-1" }, title), lead ? h("p", { class: "lead" }, lead) : null),
    tools.length ? h("div", { class: "tools" }, tools) : null);
}

export function panel(title: Child, note: Child, ...body: Child[]): HTMLElement {
  return h("section", { class: "panel" },
    h("div", { class: "panel-head" }, h("h2", {}, title), note ? h("p", { class: "note" }, note) : null), body);
}

/** A place that says that it is being filled; grey shapes of about the size of what comes. */
export function loading(height = 160): HTMLElement {
  return h("div", { class: "loading", role: "status", style: { "min-height": `${height}px` } },
    h("span", { class: "sr" }, "Loading"), h("i"), h("i"), h("i"));
}

export function empty(title: string, what: Child, ...actions: Child[]): HTMLElement {
  return h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), h("p", {}, what),
    actions.length ? h("div", { class: "actions" }, actions) : null);
}

/** An error, with its place in the query where it has one. */
export function failure(error: unknown, query?: string, again?: () => void): HTMLElement {
  const own = error instanceof ApiError ? error : null;
  const message = error instanceof Error ? error.message : String(error);
  const place = /(?:^|: )(\d+):(\d+): parse error: ([\s\S]*)$/.exec(message);
  const titles: Record<string, string> = {
    unreachable: "The gateway does not answer", timeout: "It took too long", unavailable: "Not possible at the moment",
    forbidden: "Not allowed", too_many_requests: "Too many requests", bad_data: "The question cannot be read",
    execution: "The question could not be answered",
  };
  const help: Record<string, string> = {
    unreachable: "Look whether it runs and can be reached from here, then try again.",
    timeout: "Ask about a shorter range, a longer step, or fewer series.",
    unavailable: own?.retryAfter ? `Try again in ${own.retryAfter} s.` : "Try again in a moment.",
    too_many_requests: own?.retryAfter ? `Try again in ${own.retryAfter} s.` : "Try again in a moment.",
    forbidden: "The role of this token does not include this. Ask whoever made it for another.",
  };
  const text = place ? place[3]! : message;
  return h("div", { class: "failure", role: "alert" },
    h("p", { class: "failure-title" }, place ? "The query cannot be read" : titles[own?.kind ?? ""] ?? "Something went wrong"),
    h("p", {}, marked(text.charAt(0).toUpperCase() + text.slice(1))),
    place && query !== undefined ? caret(query, Number(place[1]), Number(place[2])) : null,
    help[own?.kind ?? ""] && !place ? h("p", { class: "help" }, help[own!.kind]!) : null,
    again ? h("div", { class: "actions" }, h("button", { onclick: again }, "Try again")) : null);
}

/** A text in which pieces of code stand between backticks. */
export function marked(text: string): Child {
  return text.split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));
}

function caret(query: string, line: number, column: number): HTMLElement {
  const text = query.split("\n")[line - 1] ?? "";
  const pad = [...text].slice(0, column - 1).map((c) => (c === "\t" ? "\t" : " ")).join("");
  return h("pre", { class: "caret" }, `${text}\n`, h("b", {}, `${pad}^`));
}

export function notices(warnings: string[], infos: string[]): HTMLElement | null {
  if (!warnings.length && !infos.length) return null;
  return h("ul", { class: "notices" },
    warnings.map((text) => h("li", { class: "warning" }, marked(text))), infos.map((text) => h("li", {}, marked(text))));
}

export interface Column { title: string; number?: boolean; wide?: boolean }

export function table(columns: Column[], rows: Child[][], caption?: string): HTMLElement {
  const cell = (tag: "th" | "td", value: Child, index: number) =>
    h(tag, { class: [columns[index]?.number && "number", columns[index]?.wide && "wide"].filter(Boolean).join(" ") || null,
      scope: tag === "th" ? "col" : null }, value);
  return h("div", { class: "table", tabindex: "0", role: "region", "aria-label": caption ?? "Table" },
    h("table", {}, caption ? h("caption", { class: "sr" }, caption) : null,
      h("thead", {}, h("tr", {}, columns.map((column, index) => cell("th", column.title, index)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((value, index) => cell("td", value, index)))))));
}

/** A share of the largest, as a bar behind a number. */
export function bar(value: number, most: number): HTMLElement {
  return h("span", { class: "bar", "aria-hidden": "true" },
    h("span", { style: { width: `${most > 0 ? Math.max(1, (100 * value) / most) : 0}%` } }));
}

export function figure(label: string, value: Child, note: Child, tone: "" | "bad" | "good" = ""): HTMLElement {
  return h("div", { class: `figure ${tone}` }, h("dt", {}, label), h("dd", { class: "value" }, value),
    h("dd", { class: "note" }, note));
}

/** Which range, and where it ends. */
export function rangeTools(range: Range, latest: number | null, refresh: () => void): HTMLElement {
  const known = RANGES.some((one) => one.key === range.choice.key);
  const select = h("select", { "aria-label": "Range", onchange: (event: Event) =>
    go(read().view, { r: (event.target as HTMLSelectElement).value }) },
  known ? null : h("option", { value: range.choice.key, selected: true }, range.choice.label),
  RANGES.map((one) => h("option", { value: one.key, selected: one.key === range.choice.key }, one.label)));
  const to = (end: number) => () => go(read().view, { e: String(end) });
  const isBehind = latest !== null && latest < range.end - range.choice.ms / 4;
  return h("div", { class: "range", role: "group", "aria-label": "Time range" },
    h("button", { class: "icon", title: `Earlier by ${range.choice.label}`, "aria-label": "Earlier",
      onclick: to(range.start) }, "‹"),
    select,
    h("button", { class: "icon", title: `Later by ${range.choice.label}`, "aria-label": "Later", disabled: range.isNow,
      onclick: () => range.end + range.choice.ms >= Date.now() ? go(read().view, { e: null }) : to(range.end + range.choice.ms)() }, "›"),
    range.isNow ? null : h("button", { onclick: () => go(read().view, { e: null }) }, "To now"),
    isBehind ? h("button", { onclick: to(latest!) , title: momentLong(latest!) }, "To newest data") : null,
    h("button", { class: "icon", title: "Load again", "aria-label": "Load again", onclick: refresh }, "↻"));
}

export function rangeLead(range: Range): Child {
  return [`${moment(range.start)} to ${range.isNow ? "now" : moment(range.end)} `, h("span", { class: "zone" }, zone())];
}

/** Shows what comes of a promise in a place, with what is said meanwhile. */
export function show<T>(place: Element, work: Promise<T>, view: (value: T) => Child, height = 160, query?: string): Promise<void> {
  fill(place, loading(height));
  place.setAttribute("aria-busy", "true");
  return work.then((value) => fill(place, view(value))).catch((error) => {
    // Who is signed out is asked for a token, in the place of everything.
    if ((error as Error).name === "AbortError" || (error instanceof ApiError && error.status === 401)) return;
    fill(place, failure(error, query));
  }).finally(() => place.removeAttribute("aria-busy"));
}

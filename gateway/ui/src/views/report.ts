// The report of a day, week or month, of a site or of all, as whoever it is written for gets it.

import { Who, get, getText } from "../api";
import { fill, h } from "../dom";
import { empty, heading, show } from "../pieces";
import { go, read } from "../state";
import { DAY, isoDay, zone } from "../time";

interface Site { name: string }

/** A period, by dates of the calendar: whatever the zone, they are reckoned in UTC. */
interface Span {
  key: string;
  label: string;
  first(date: Date): Date;
  shift(first: Date, by: number): Date;
  write(first: Date): string;
}

const days = (date: Date, by: number) => new Date(date.getTime() + by * DAY);
const iso = (date: Date) => date.toISOString().slice(0, 10);
const format = (options: Intl.DateTimeFormatOptions) => {
  const own = new Intl.DateTimeFormat("en-GB", { ...options, timeZone: "UTC" });
  return (date: Date) => own.format(date);
};
const long = format({ day: "numeric", month: "long", year: "numeric" });

const SPANS: Span[] = [
  { key: "day", label: "Day", first: (date) => date, shift: days, write: format({ weekday: "long", day: "numeric", month: "long", year: "numeric" }) },
  { key: "week", label: "Week", first: (date) => days(date, -((date.getUTCDay() + 6) % 7)), shift: (first, by) => days(first, 7 * by), write: (first) => `Week of ${long(first)}` },
  { key: "month", label: "Month", first: (date) => new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1)),
    shift: (first, by) => new Date(Date.UTC(first.getUTCFullYear(), first.getUTCMonth() + by, 1)), write: format({ month: "long", year: "numeric" }) },
];

/** The last period that is over and has data; where none is, the one that has. */
function newest(span: Span, who: Who): Date {
  const last = span.first(new Date(isoDay((who.latest ?? Date.now()) - 1)));
  const isOver = span.shift(last, 1).getTime() <= Date.now();
  return isOver || (who.earliest ?? Infinity) >= last.getTime() ? last : span.shift(last, -1);
}

/** Stands for all sites where one is named. */
const ALL = "*";

export function report(place: HTMLElement, who: Who, signal: AbortSignal): void {
  const { params } = read();
  const span = SPANS.find((one) => one.key === params.get("span")) ?? SPANS[1]!;
  const asked = Date.parse(params.get("of") ?? "");
  const first = Number.isNaN(asked) ? newest(span, who) : span.first(new Date(asked));
  const out = h("div", { class: "slot paper" }), tools = h("div", { class: "range" });
  fill(place, heading("Report", span.write(first), tools), out);

  void show(out, get<Site[]>("api/annals/sites", {}, signal), (sites) => {
    if (!sites.length) {
      return empty("There is nothing to report yet", "A report is made of what sites have sent. None has sent anything that is kept.");
    }
    const site = params.get("site") === ALL || sites.some((one) => one.name === params.get("site")) ? params.get("site")! : sites[0]!.name;
    const isLast = span.shift(first, 1).getTime() > (who.latest ?? Date.now());
    const save = h("button", { disabled: true }, "Save");
    const print = h("button", { disabled: true }, "Print");
    const to = (by: number) => () => go("report", { of: iso(span.shift(first, by)) });
    const picked = (event: Event) => (event.target as HTMLSelectElement | HTMLInputElement).value;
    fill(tools,
      h("select", { "aria-label": "Site", class: "narrow", onchange: (event: Event) => go("report", { site: picked(event) }) },
        sites.map((one) => h("option", { value: one.name, selected: one.name === site }, one.name)),
        sites.length > 1 ? h("option", { value: ALL, selected: site === ALL }, "All sites") : null),
      h("select", { "aria-label": "Length", onchange: (event: Event) => go("report", { span: picked(event) === "week" ? null : picked(event), of: null }) },
        SPANS.map((one) => h("option", { value: one.key, selected: one === span }, one.label))),
      h("button", { class: "icon", "aria-label": "Before", title: `The ${span.key} before`, onclick: to(-1) }, "‹"),
      h("input", { type: "date", "aria-label": `A day of the ${span.key}`, value: iso(first), onchange: (event: Event) => {
        if (picked(event)) go("report", { of: picked(event) });
      } }),
      h("button", { class: "icon", "aria-label": "After", title: `The ${span.key} after`, disabled: isLast, onclick: to(1) }, "›"),
      print, save);
    const sheet = h("div", { class: "slot" });
    const work = getText("api/annals/report", {
      site: site === ALL ? undefined : site, span: span.key, of: iso(first), tz: zone(), format: "html",
    }, signal);
    void show(sheet, work, (html) => framed(html, print, save, `${site === ALL ? who.tenant : site}-${iso(first)}.html`), 520);
    return sheet;
  }, 520);
}

/** The report in a frame of its own, where no script runs; it is as high as what it holds. */
function framed(html: string, print: HTMLButtonElement, save: HTMLButtonElement, name: string): HTMLElement {
  const frame = h("iframe", { class: "report", title: "Report", sandbox: "allow-same-origin allow-modals", srcdoc: html });
  const fit = () => {
    const inner = frame.contentDocument?.body;
    if (inner) frame.style.setProperty("height", `${Math.ceil(inner.getBoundingClientRect().height) + 2}px`);
  };
  frame.addEventListener("load", () => {
    fit();
    const inner = frame.contentDocument?.body;
    // What unfolds in it makes it higher.
    if (inner) new ResizeObserver(fit).observe(inner);
    print.disabled = save.disabled = false;
  });
  print.onclick = () => frame.contentWindow?.print();
  save.onclick = () => {
    const address = URL.createObjectURL(new Blob([html], { type: "text/html" }));
    h("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  };
  return frame;
}

// What is kept, until when, and why.

import { Who, get } from "../api";
import { Child, fill, h } from "../dom";
import { bytes, count, plural } from "../numbers";
import { empty, heading, notices, show, table } from "../pieces";
import { DAY, duration, utcDay as day } from "../time";

interface Block {
  id: string;
  content: string;
  start: number;
  end: number;
  rows: number;
  bytes: number;
  rule: string;
  due: number | null;
  state: "live" | "held" | "due";
}

interface Retention {
  plan: string;
  next: { plan: string; from: number } | null;
  cancelled: number | null;
  lag_ms: number;
  late_window_ms: number | null;
  keeps: { content: string; keep: string }[];
  blocks: Block[];
}

const CONTENTS: [string, string, string][] = [
  ["signals", "Raw signals", "signals"],
  ["raw", "Metrics", "samples"],
  ["5m", "Rollups of 5 minutes", "windows"],
  ["1h", "Rollups of 1 hour", "windows"],
];

export function retention(place: HTMLElement, _who: Who, signal: AbortSignal): void {
  const out = h("div", { class: "slot" });
  fill(place, heading("Retention", "What is kept, until when, and by which rule. A day goes whole; days are those of UTC."), out);
  void show(out, get<Retention>("api/annals/retention", {}, signal), view, 380);
}

function view(own: Retention): Child {
  const warnings = [
    own.cancelled === null ? null : `This tenant is cancelled. All of it is erased on ${day(own.cancelled)}, unless that is taken back before.`,
    own.next === null ? null : `The plan ${own.next.plan} takes effect on ${day(own.next.from)}; until then it can be undone.`,
    own.lag_ms > 0 ? `What should have gone has been due for ${duration(own.lag_ms)}. It cannot be read any more; background work has yet to remove its bytes.` : null,
  ].filter((text): text is string => text !== null);
  const all = own.blocks.reduce((sum, block) => sum + block.bytes, 0);
  const kinds = CONTENTS.map(([content, title, rows]) => ({
    content, title, rows, keep: own.keeps.find((one) => one.content === content)?.keep ?? null, blocks: own.blocks.filter((block) => block.content === content),
  })).filter((kind) => kind.keep !== null || kind.blocks.length);
  return [
    notices(warnings, []),
    h("dl", { class: "figures" },
      h("div", { class: "figure" }, h("dt", {}, "Plan"), h("dd", { class: "value" }, own.plan),
        h("dd", { class: "note" }, own.late_window_ms === null ? "takes no late data" : `takes data up to ${duration(own.late_window_ms)} late`)),
      kinds.map((kind) => h("div", { class: "figure" }, h("dt", {}, kind.title), h("dd", { class: "value" }, kind.keep ?? "not in the plan"),
        h("dd", { class: "note" }, kind.blocks.length
          ? `${bytes(kind.blocks.reduce((sum, block) => sum + block.bytes, 0))} in ${plural(kind.blocks.length, "block")}` : "none on disk yet")))),
    own.blocks.length ? [
      h("section", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", {}, "What there is, and how long it stays"),
        h("p", { class: "note" }, `${bytes(all)} in all`)), timeline(kinds.filter((kind) => kind.blocks.length), Date.now())),
      h("section", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", {}, "What goes next")), next(own)),
      h("section", { class: "panel" }, h("details", {}, h("summary", {}, `All ${plural(own.blocks.length, "block")}`), blocks(own.blocks))),
    ] : empty("There are no blocks yet", "What has come in lies in memory and in the log. Once a day, or when there is much of it, it becomes blocks, and each shows here with its date."),
  ];
}

interface Kind { title: string; rows: string; keep: string | null; blocks: Block[] }

/** Per content a band from its first day to the date on which its last goes: full while there is data, light until it goes. */
function timeline(kinds: Kind[], now: number): Child {
  const first = Math.min(now, ...kinds.flatMap((kind) => kind.blocks.map((block) => block.start)));
  const finite = kinds.flatMap((kind) => kind.blocks.map((block) => block.due)).filter((due): due is number => due !== null);
  // What is kept for years would leave nothing to see of the days that there are.
  const last = Math.min(Math.max(now + DAY, ...finite), now + Math.max(45 * DAY, 3 * (now - first)));
  const x = (time: number) => (100 * (Math.min(Math.max(time, first), last) - first)) / (last - first);
  const at = (left: number, right: number) => ({ left: `${left}%`, width: `${Math.max(0.4, right - left)}%` });
  return h("div", { class: "timeline" },
    h("div", { class: "lanes" }, kinds.map((kind) => {
      const due = kind.blocks.map((block) => block.due ?? Infinity);
      const [begin, end, goes] = [Math.min(...kind.blocks.map((b) => b.start)), Math.max(...kind.blocks.map((b) => b.end)), Math.max(...due)];
      const rows = kind.blocks.reduce((sum, block) => sum + block.rows, 0);
      const text = goes === Infinity ? "for ever" : day(goes);
      return h("div", { class: "lane" },
        h("div", { class: "lane-name" }, h("b", {}, kind.title), h("span", { class: "soft" }, `${count(rows)} ${kind.rows}`)),
        h("div", { class: "lane-band", role: "img", "aria-label": `${kind.title}: data from ${day(begin)} to ${day(end)}, the last of it goes ${text}` },
          h("span", { class: "stays", style: at(x(begin), x(goes)) }),
          kind.blocks.map((block) => h("span", { class: `days ${block.state}`, style: at(x(block.start), x(block.end)), title: `${day(block.end - 1)}: ${block.rule}` })),
          h("span", { class: "today", style: { left: `${x(now)}%` } })),
        h("div", { class: "lane-end soft" }, goes === Infinity ? "kept for ever" : `last goes ${day(goes)}`));
    })),
    h("div", { class: "lane scale" }, h("div", {}), h("div", { class: "lane-band soft" },
      h("span", { class: "from" }, day(first + 1)), h("span", { class: "now", style: { left: `${x(now)}%` } }, "today"), h("span", { class: "until" }, day(last))), h("div", {})));
}

function next(own: Retention): Child {
  const groups = new Map<string, { due: number; rule: string; state: string; blocks: Block[] }>();
  for (const block of own.blocks) {
    if (block.due === null) continue;
    const key = `${block.due} ${block.rule}`;
    const group = groups.get(key) ?? { due: block.due, rule: block.rule, state: block.state, blocks: [] };
    group.blocks.push(block);
    groups.set(key, group);
  }
  const soon = [...groups.values()].sort((a, b) => a.due - b.due).slice(0, 8);
  if (!soon.length) return h("p", { class: "none" }, "Nothing: the plan keeps all of it for ever");
  return table([{ title: "On" }, { title: "Data of" }, { title: "Why", wide: true }, { title: "Size", number: true }],
    soon.map((group) => [
      [day(group.due), group.state === "due" ? h("span", { class: "chip bad" }, "due") : group.state === "held" ? h("span", { class: "chip" }, "held") : null],
      span(group.blocks), group.rule, bytes(group.blocks.reduce((sum, block) => sum + block.bytes, 0)),
    ]), "What goes next");
}

function span(blocks: Block[]): string {
  const [first, last] = [Math.min(...blocks.map((b) => b.start)) + 1, Math.max(...blocks.map((b) => b.end)) - 1];
  return day(first) === day(last) ? day(first) : `${day(first)} to ${day(last)}`;
}

function blocks(all: Block[]): Child {
  const title = (content: string) => CONTENTS.find(([own]) => own === content)?.[1] ?? content;
  return table([{ title: "Day" }, { title: "Content" }, { title: "Block" }, { title: "Rows", number: true }, { title: "Size", number: true }, { title: "Goes on" }, { title: "State" }, { title: "Rule", wide: true }],
    [...all].sort((a, b) => b.start - a.start || a.id.localeCompare(b.id)).map((block) => [
      span([block]), title(block.content), h("code", {}, block.id), count(block.rows), bytes(block.bytes),
      block.due === null ? "never" : day(block.due), block.state, block.rule,
    ]), "Blocks");
}

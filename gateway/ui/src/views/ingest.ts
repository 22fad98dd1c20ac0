// What comes in, and what was refused and why.

import { Answer, Who, get, range as askRange } from "../api";
import { colour, draw, legend, palette } from "../chart";
import { Child, fill, h } from "../dom";
import { count, percent, plural } from "../numbers";
import { bar, figure, heading, rangeLead, rangeTools, show, table } from "../pieces";
import { go } from "../state";
import { between, moment, promDuration, range } from "../time";

interface Intake {
  since: number;
  batches: { written: number; duplicate: number; conflicting: number; failed: number };
  records: number;
  refused: { reason: string; count: number }[];
}

/** What each reason means for whoever sends, and what to do. */
const REASONS: Record<string, [string, string]> = {
  unknown_kind: ["A kind of signal that does not exist here", "Compare the sender's version with the kinds that this gateway knows."],
  unknown_field: ["A field that the kind does not have", "Remove the field: only what the schema names is taken."],
  missing_field: ["A field that the kind needs is missing", "Send it, or update the sender."],
  repeated_field: ["The same field twice", "Send each field once."],
  wrong_type: ["A value of another type than the field's", "Look at numbers that are sent as text, and the other way round."],
  out_of_bounds: ["A number outside its bounds, or a text that is too long", "Look at units: durations are milliseconds."],
  not_allowed: ["A value that is not one of those listed, or has other characters than names may", "Names are of a-z, 0-9 and _ . : / -"],
  late: ["For a day that is sealed", "The sender is behind by more than the plan allows. Look at its queue and its clock."],
  expired: ["For a day that is not kept any more", "The plan keeps less than what is sent."],
  future: ["Too far ahead of the clock", "Set the clock of the sender."],
  invalid_labels: ["Labels that are not valid", "Look at names and lengths of labels."],
  not_entitled: ["Labels of its own, which the plan does not allow", "Samples with free labels need a plan with open_metrics."],
  reserved_metric: ["A metric that is derived from signals here", "Give the metric another name."],
  kind_conflict: ["A metric that was first written as another kind", "A metric is a gauge, a counter or a delta, for ever. Rename one of them."],
  series_limit: ["One more series than the plan allows", "Look at Series for the labels that make them so many."],
  unknown_series: ["A series that the batch does not define", "A fault of the sender: report it."],
};

export function ingest(place: HTMLElement, who: Who, signal: AbortSignal, again: () => void): void {
  const own = range("7d");
  const cell = own.choice.cell;
  const end = Math.ceil(own.end / cell) * cell, start = Math.ceil(own.start / cell) * cell + cell;
  const out = h("div", { class: "slot" }), body = h("div", { class: "chart", style: { "min-height": "210px" } }), key = h("div", { class: "key" });
  void show(out, get<Intake>("api/annals/intake", {}, signal), health, 240);
  if (who.role === "ingest") {
    // It may write, and read nothing of what is there.
    fill(place, heading("Ingest", "What became of what was sent."), out);
    return;
  }
  fill(place, heading("Ingest", rangeLead(own), rangeTools(own, who.latest, again)), out,
    h("section", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", {}, "Signals that were admitted"),
      h("p", { class: "note" }, "by kind, at the times that they tell of")), key, body));
  const work = askRange(`sum by (kind) (increase(signals[${promDuration(cell)}]))`, start, end, cell, signal);
  void show(body, work, () => null, 210).then(async () => {
    const answer = await work.catch(() => null);
    if (answer && !signal.aborted) admitted(body, key, answer, start, end, cell);
  });
}

function admitted(body: HTMLElement, key: HTMLElement, answer: Answer, start: number, end: number, cell: number): void {
  if (!answer.result.length) {
    fill(body, h("p", { class: "none" }, "No signals in this range"));
    return;
  }
  const length = Math.floor((end - start) / cell) + 1;
  const times = Array.from({ length }, (_, index) => start + index * cell);
  const colours = palette();
  const sum = (values: [number, string][] = []) => values.reduce((all, [, value]) => all + Number(value), 0);
  const lines = answer.result.sort((a, b) => sum(b.values) - sum(a.values)).map((series, index) => {
    const values: (number | null)[] = new Array(length).fill(null);
    for (const [time, value] of series.values ?? []) values[Math.round((time * 1000 - start) / cell)] = Number(value);
    return { label: series.metric.kind ?? "", colour: colours[index % colours.length]!, values };
  });
  const voids = times.map((time, index) => time - cell < Date.now() && lines.every((line) => line.values[index] === null));
  fill(key, legend([...lines, ...(voids.some(Boolean) ? [{ label: "no data", colour: colour("--void") }] : [])]));
  fill(body);
  draw(body, { times, lines, kind: "bars", height: 210, name: "Signals that were admitted", voids, onRange: (from, to) => go("ingest", between(from, to)) });
}

function health(own: Intake): Child {
  const refused = own.refused.filter((one) => one.count > 0).sort((a, b) => b.count - a.count);
  const all = refused.reduce((sum, one) => sum + one.count, 0);
  const most = refused[0]?.count ?? 0;
  const { batches } = own;
  return [
    h("dl", { class: "figures" },
      figure("Records taken", count(own.records), `in ${plural(batches.written, "batch", "batches")}`),
      figure("Records refused", count(all), all ? `${percent(all, all + own.records)} of what came` : "all that came was taken", all ? "bad" : "good"),
      figure("Batches sent again", count(batches.duplicate), "counted once"),
      figure("Batches in conflict", count(batches.conflicting), "an id with other content", batches.conflicting ? "bad" : ""),
      figure("Batches that failed", count(batches.failed), "to be sent again", batches.failed ? "bad" : "")),
    h("section", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", {}, "Refused, by reason"),
      h("p", { class: "note" }, `counted since ${moment(own.since)}, when the store was opened`)),
    refused.length ? table([{ title: "Reason", wide: true }, { title: "Records", number: true }, { title: "" }, { title: "What to do", wide: true }],
      refused.map(({ reason, count: records }) => [
        h("div", {}, h("div", {}, REASONS[reason]?.[0] ?? reason), h("code", { class: "soft" }, reason)), count(records), bar(records, most), REASONS[reason]?.[1] ?? "",
      ]), "Refused, by reason") : h("p", { class: "none" }, "Nothing was refused")),
  ];
}

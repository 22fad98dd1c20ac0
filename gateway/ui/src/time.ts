// Ranges, steps, and how times are written. All numbers are milliseconds.

import { read } from "./state";

export const MINUTE = 60_000, HOUR = 60 * MINUTE, DAY = 24 * HOUR;

export interface RangeChoice { key: string; label: string; ms: number; cell: number }

/** Ranges one can choose, and the cells that an overview counts them in. */
export const RANGES: RangeChoice[] = [
  { key: "1h", label: "1 hour", ms: HOUR, cell: MINUTE },
  { key: "6h", label: "6 hours", ms: 6 * HOUR, cell: 5 * MINUTE },
  { key: "1d", label: "1 day", ms: DAY, cell: 30 * MINUTE },
  { key: "7d", label: "7 days", ms: 7 * DAY, cell: 2 * HOUR },
  { key: "14d", label: "14 days", ms: 14 * DAY, cell: 6 * HOUR },
  { key: "30d", label: "30 days", ms: 30 * DAY, cell: 12 * HOUR },
  { key: "90d", label: "90 days", ms: 90 * DAY, cell: DAY },
  { key: "365d", label: "1 year", ms: 365 * DAY, cell: 7 * DAY },
];

export interface Range { choice: RangeChoice; start: number; end: number; isNow: boolean }

/** The range of the address; its end is a whole minute. */
export function range(otherwise = "7d"): Range {
  const { params } = read();
  const key = params.get("r") ?? otherwise;
  const custom = /^(\d{1,6})m$/.exec(key);
  const choice = RANGES.find((one) => one.key === key)
    ?? (custom ? spanned(Number(custom[1]) * MINUTE, key) : RANGES.find((one) => one.key === otherwise)!);
  const asked = Number(params.get("e"));
  const isNow = !params.get("e") || !Number.isFinite(asked);
  const end = Math.ceil((isNow ? Date.now() : asked) / MINUTE) * MINUTE;
  return { choice, start: end - choice.ms, end, isNow };
}

function spanned(ms: number, key: string): RangeChoice {
  const near = RANGES.find((one) => one.ms >= ms) ?? RANGES[RANGES.length - 1]!;
  return { key, label: duration(ms), ms, cell: near.cell };
}

/** A range from one time to another, as the address says it. */
export function between(start: number, end: number): { r: string; e: string } {
  const minutes = Math.max(1, Math.round((end - start) / MINUTE));
  const known = RANGES.find((one) => one.ms === minutes * MINUTE);
  return { r: known?.key ?? `${minutes}m`, e: String(Math.ceil(end / MINUTE) * MINUTE) };
}

const STEPS = [1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 604800];

/** A step that gives about so many points. */
export function stepFor(ms: number, points: number): number {
  return (STEPS.find((step) => ms / (step * 1000) <= points) ?? 604800) * 1000;
}

/** A duration as PromQL reads it. */
export function promDuration(ms: number): string {
  for (const [unit, size] of [["d", DAY], ["h", HOUR], ["m", MINUTE], ["s", 1000]] as const) {
    if (ms % size === 0) return `${ms / size}${unit}`;
  }
  return `${ms}ms`;
}

/** A duration in words that are short. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  for (const [unit, size] of [["day", DAY], ["hour", HOUR], ["minute", MINUTE], ["second", 1000]] as const) {
    if (ms >= size) {
      const count = Math.round((ms / size) * 10) / 10;
      return `${count} ${unit}${count === 1 ? "" : "s"}`;
    }
  }
  return "0";
}

/** The zone that times are written in. */
export function zone(): string {
  return read().params.get("z") === "local" ? Intl.DateTimeFormat().resolvedOptions().timeZone : "UTC";
}

const formats = new Map<string, Intl.DateTimeFormat>();

function format(key: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const own = `${key} ${zone()}`;
  let found = formats.get(own);
  if (!found) formats.set(own, found = new Intl.DateTimeFormat("en-GB", { ...options, timeZone: zone() }));
  return found;
}

export function day(ms: number): string {
  return format("day", { day: "numeric", month: "short", year: "numeric" }).format(ms);
}

const utc = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });

/** Of what goes by days of UTC, whatever zone one looks from. */
export function utcDay(ms: number): string {
  return utc.format(ms);
}

export function dayShort(ms: number): string {
  return format("dayShort", { day: "numeric", month: "short" }).format(ms);
}

export function clock(ms: number): string {
  return format("clock", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(ms);
}

export function moment(ms: number): string {
  return `${format("weekday", { weekday: "short" }).format(ms)} ${dayShort(ms)}, ${clock(ms)}`;
}

export function momentLong(ms: number): string {
  const seconds = format("seconds", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  return `${day(ms)}, ${seconds.format(ms)}`;
}

/** A date as forms have it. */
export function isoDay(ms: number): string {
  return new Intl.DateTimeFormat("sv-SE", { timeZone: zone(), year: "numeric", month: "2-digit", day: "2-digit" }).format(ms);
}

// How numbers are written.

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** A count, with commas. */
export function count(value: number): string {
  return Number.isFinite(value) ? whole.format(value) : String(value);
}

/** A value of an axis or a table: four digits that matter, thousands as k, M, G. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
  const size = Math.abs(value);
  for (const [unit, from] of [["T", 1e12], ["G", 1e9], ["M", 1e6], ["k", 1e4]] as const) {
    if (size >= from) return `${trim(value / (unit === "k" ? 1e3 : from))}${unit}`;
  }
  if (size !== 0 && size < 1e-3) return value.toExponential(2);
  return size >= 1000 ? whole.format(value) : trim(value);
}

function trim(value: number): string {
  return String(Number(value.toPrecision(4)));
}

/** A value as it is, with commas where it is whole. */
export function exact(text: string): string {
  const value = Number(text);
  return Number.isInteger(value) && Math.abs(value) >= 10000 && Math.abs(value) < 2 ** 53 ? whole.format(value) : text;
}

export function bytes(size: number): string {
  let [value, unit] = [size, "B"];
  for (const next of ["KiB", "MiB", "GiB", "TiB"]) {
    if (value < 1024) break;
    [value, unit] = [value / 1024, next];
  }
  return `${unit === "B" || value >= 100 ? Math.round(value) : value.toFixed(1)} ${unit}`;
}

export function percent(part: number, of: number): string {
  if (of === 0) return "–";
  const value = (100 * part) / of;
  // Nothing is written as none or as all of it that is not.
  const digits = value === 0 || value === 100 ? 0 : value < 0.095 ? 2 : value < 9.95 || (value > 99 && value < 100) ? 1 : 0;
  return `${value.toFixed(digits)} %`;
}

/** Seconds as somebody reads them. */
export function took(seconds: number): string {
  if (seconds < 1e-3) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${(seconds * 1e3).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  return `${seconds.toFixed(2)} s`;
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

// Questions to the gateway. All addresses are relative, so that the page works below any path; nothing else is asked.

const KEY = "annals";

/** Told to the window when a token that was taken is not taken any more. */
export const SIGNED_OUT = "annals-signed-out";

/** Who asks: kept for this tab alone. */
export interface Session {
  token: string;
  /** Of an operator: whose data, and why. */
  tenant?: string;
  reason?: string;
}

/** What the gateway says of whoever asks. */
export interface Who {
  tenant: string | null;
  role: string;
  operator: string | null;
  earliest: number | null;
  latest: number | null;
  version: string;
}

export class ApiError extends Error {
  constructor(readonly status: number, readonly kind: string, message: string, readonly retryAfter: string | null) {
    super(message);
  }
}

export function session(): Session | null {
  try {
    const own = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
    return own && typeof own.token === "string" ? own : null;
  } catch {
    return null;
  }
}

export function remember(own: Session | null): void {
  if (own) sessionStorage.setItem(KEY, JSON.stringify(own));
  else sessionStorage.removeItem(KEY);
}

/** What a session shows with each request. */
export function headers(own: Session | null): Headers {
  const all = new Headers();
  if (own) all.set("Authorization", `Bearer ${own.token}`);
  if (own?.tenant) all.set("X-Annals-Tenant", own.tenant);
  if (own?.reason) all.set("X-Annals-Reason", own.reason);
  return all;
}

export type Params = Record<string, string | number | undefined>;

function form(params: Params): URLSearchParams {
  const text = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) if (value !== undefined) text.append(name, String(value));
  return text;
}

async function send(path: string, init: RequestInit, own = session()): Promise<Response> {
  const all = headers(own);
  new Headers(init.headers).forEach((value, name) => all.set(name, value));
  let response: Response;
  try {
    response = await fetch(`../${path}`, { ...init, headers: all, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if ((error as Error).name === "AbortError") throw error;
    throw new ApiError(0, "unreachable", "The gateway does not answer.", null);
  }
  if (response.ok) return response;
  let kind = "error", message = `The gateway answered ${response.status}.`;
  try {
    const body = await response.json();
    if (typeof body.error === "string") [kind, message] = [body.errorType ?? kind, body.error];
  } catch { /* an answer of somebody in between */ }
  if (response.status === 401 && own) dispatchEvent(new Event(SIGNED_OUT));
  throw new ApiError(response.status, kind, message, response.headers.get("Retry-After"));
}

/** A document of the gateway's own. */
export async function get<T>(path: string, params: Params = {}, signal?: AbortSignal, own = session()): Promise<T> {
  const text = form(params).toString();
  const response = await send(text ? `${path}?${text}` : path, { signal }, own);
  return (await response.json()).data as T;
}

/** The same where the question may be long. */
export async function post<T>(path: string, params: Params, signal?: AbortSignal): Promise<T> {
  return (await (await send(path, { method: "POST", body: form(params), signal })).json()).data as T;
}

/** A text, as a report is. */
export async function getText(path: string, params: Params, signal?: AbortSignal): Promise<string> {
  return (await send(`${path}?${form(params)}`, { signal })).text();
}

export interface Series {
  metric: Record<string, string>;
  value?: [number, string];
  values?: [number, string][];
  histogram?: [number, Histogram];
  histograms?: [number, Histogram][];
}
export interface Histogram { count: string; sum: string; buckets?: [number, string, string, string][] }

export interface Answer {
  resultType: "vector" | "matrix" | "scalar" | "string";
  result: Series[];
  /** Of a scalar or a string. */
  single?: [number, string];
  warnings: string[];
  infos: string[];
  seconds: number | null;
  samples: number | null;
}

async function ask(path: string, params: Params, signal?: AbortSignal): Promise<Answer> {
  const response = await send(path, { method: "POST", body: form({ ...params, stats: "true" }), signal });
  const text = await response.text();
  // Beside the mark of a chart that is drawn, it tells what drawing takes.
  performance.mark("annals-answer");
  const body = JSON.parse(text);
  const { resultType, result, stats } = body.data;
  const single = resultType === "scalar" || resultType === "string" ? result : undefined;
  return {
    resultType, single, result: single ? [] : result,
    warnings: body.warnings ?? [], infos: body.infos ?? [],
    seconds: stats?.timings?.evalTotalTime ?? null,
    samples: stats?.samples?.totalQueryableSamples ?? null,
  };
}

/** A question about one time, in milliseconds. */
export function instant(query: string, at: number, signal?: AbortSignal): Promise<Answer> {
  return ask("api/v1/query", { query, time: at / 1000 }, signal);
}

/** A question about times, in milliseconds. */
export function range(query: string, start: number, end: number, step: number, signal?: AbortSignal): Promise<Answer> {
  return ask("api/v1/query_range", { query, start: start / 1000, end: end / 1000, step: step / 1000 }, signal);
}

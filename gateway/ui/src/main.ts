// The page: who is asking, which view, and what stands around it.

import { ApiError, SIGNED_OUT, Who, get, remember, session } from "./api";
import { clear } from "./chart";
import { fill, h } from "./dom";
import { failure, loading } from "./pieces";
import { go, link, read } from "./state";
import { zone } from "./time";
import { ingest } from "./views/ingest";
import { overview } from "./views/overview";
import { query } from "./views/query";
import { report } from "./views/report";
import { retention } from "./views/retention";
import { series } from "./views/series";
import { signIn } from "./views/signin";

/** Draws itself into a place; what it asks for is called off by the signal. It may give back what ends it. */
type View = (place: HTMLElement, who: Who, signal: AbortSignal, again: () => void) => void | (() => void);

const READ = ["viewer", "manager", "operator"];
const VIEWS: Record<string, { title: string; view: View; roles: string[] }> = {
  overview: { title: "Overview", view: overview, roles: READ },
  query: { title: "Query", view: query, roles: READ },
  report: { title: "Report", view: report, roles: [...READ, "report"] },
  retention: { title: "Retention", view: retention, roles: READ },
  series: { title: "Series", view: series, roles: READ },
  ingest: { title: "Ingest", view: ingest, roles: [...READ, "ingest"] },
};

let who: Who | null = null;
let askedWho = 0;
/** From when to when there is data is asked again after this. */
const WHO_MS = 60_000;
let shown: AbortController | null = null;
let end: (() => void) | null = null;

function stop(): void {
  shown?.abort();
  end?.();
  end = null;
  clear();
}

const CONTROLS = "a, button, select, input";

/** What a control is called, by which it is found again when everything is drawn anew. */
function control(element: Element | null): string | null {
  if (!element?.matches(CONTROLS)) return null;
  return `${element.tagName} ${element.getAttribute("aria-label") ?? element.textContent}`;
}

function allowed(name: string): boolean {
  return who !== null && (VIEWS[name]?.roles.includes(who.role) ?? false);
}

function shell(own: Who): HTMLElement {
  const main = h("main", { id: "main" });
  const name = read().view;
  const theme = document.documentElement.dataset.theme ?? "";
  fill(document.body,
    h("a", { class: "skip", href: "#main", onclick: (event: Event) => { event.preventDefault(); main.querySelector("h1")?.focus(); } }, "To the content"),
    h("header", { class: "top" },
      h("a", { class: "mark", href: link("overview", { site: null }) }, "Annals"),
      h("span", { class: "tenant", title: own.operator ? `read by the operator ${own.operator}` : `role ${own.role}` }, own.tenant,
        own.operator ? h("span", { class: "chip" }, `operator ${own.operator}`) : null),
      h("nav", { "aria-label": "Views" }, Object.entries(VIEWS).filter(([key]) => allowed(key)).map(([key, { title }]) =>
        h("a", { href: link(key, key === name ? {} : { r: null, e: null }), "aria-current": key === name ? "page" : null }, title))),
      h("div", { class: "own" },
        h("button", { class: "quiet", onclick: () => go(read().view, { z: zone() === "UTC" ? "local" : null }), title: "The zone of all times" }, zone() === "UTC" ? "UTC" : "Local time"),
        h("button", { class: "quiet", onclick: nextTheme, title: "Light, dark, or as the system has it", "aria-label": `Theme: ${theme || "as the system has it"}` },
          { light: "Light", dark: "Dark" }[theme] ?? "Auto"),
        h("button", { class: "quiet", onclick: () => { remember(null); who = null; render(); } }, "Sign out"))),
    main,
    h("footer", { class: "foot" }, `Annals ${own.version}`));
  document.querySelector("nav [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });
  return main;
}

/** How it looks is a matter of whoever looks, and is kept beside the token; a link carries no theme. */
function nextTheme(): void {
  const now = document.documentElement.dataset.theme ?? "";
  const next = { "": "light", light: "dark", dark: "" }[now] ?? "";
  sessionStorage.setItem("annals-theme", next);
  applyTheme();
  render();
}

function applyTheme(): void {
  const theme = sessionStorage.getItem("annals-theme");
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

function render(): void {
  const had = control(document.activeElement);
  stop();
  if (!who) {
    void enter();
    return;
  }
  if (Date.now() - askedWho > WHO_MS) {
    askedWho = Date.now();
    // For the next look; this one does not wait for it, and where it fails the view says so itself.
    get<Who>("api/annals/whoami").then((own) => { if (who) who = own; }, () => {});
  }
  const { view: name } = read();
  if (!allowed(name)) {
    const first = Object.keys(VIEWS).find(allowed);
    if (first && first !== name) {
      location.replace(link(first));
      return;
    }
  }
  const own = VIEWS[name];
  if (!own) return;
  const place = shell(who);
  document.title = `${own.title} – ${who.tenant ?? ""} – Annals`;
  shown = new AbortController();
  end = own.view(place, who, shown.signal, render) ?? null;
  // Who used a control by keyboard still stands at it.
  const still = [...document.querySelectorAll<HTMLElement>(CONTROLS)].find((one) => had !== null && control(one) === had);
  still?.focus();
}

/** Lets in who has a token that is still taken, and asks everybody else for one. */
async function enter(why: string | null = null): Promise<void> {
  const entered = (own: Who) => { who = own; askedWho = Date.now(); render(); };
  if (!session()) {
    document.title = "Annals";
    signIn(document.body, why, entered);
    return;
  }
  fill(document.body, h("main", {}, loading(300)));
  try {
    entered(await get<Who>("api/annals/whoami"));
  } catch (error) {
    if (error instanceof ApiError && (error.status === 401 || error.status === 403)) {
      remember(null);
      await enter("The token is not taken any more.");
    } else {
      fill(document.body, h("main", {}, failure(error, undefined, () => void enter())));
    }
  }
}

addEventListener("hashchange", render);
addEventListener(SIGNED_OUT, () => {
  if (!who) return;
  stop();
  who = null;
  remember(null);
  void enter("The token is not taken any more.");
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (who) render(); });
applyTheme();
render();

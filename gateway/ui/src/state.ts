// What is shown, whole, in the address: a link shows somebody else the same. The token is never part of it.

export interface State {
  view: string;
  params: URLSearchParams;
}

/** What the address says. */
export function read(): State {
  const text = location.hash.replace(/^#\/?/, "");
  const cut = text.indexOf("?");
  const view = cut < 0 ? text : text.slice(0, cut);
  return { view: view || "overview", params: new URLSearchParams(cut < 0 ? "" : text.slice(cut + 1)) };
}

/** The address of a view, with what all views share carried over. */
export function link(view: string, own: Record<string, string | null> = {}): string {
  const now = read();
  const params = new URLSearchParams();
  for (const shared of ["r", "e", "z"]) {
    const value = now.params.get(shared);
    if (value) params.set(shared, value);
  }
  if (view === now.view) now.params.forEach((value, name) => params.set(name, value));
  for (const [name, value] of Object.entries(own)) {
    if (value === null || value === "") params.delete(name);
    else params.set(name, value);
  }
  const text = params.toString();
  return `#/${view}${text ? `?${text}` : ""}`;
}

/** Goes there; what was there before is one step back. */
export function go(view: string, own: Record<string, string | null> = {}): void {
  location.hash = link(view, own);
}

/** Says the same of the place where one is, without a step back and without showing it again. */
export function amend(own: Record<string, string | null>): void {
  history.replaceState(null, "", link(read().view, own));
}

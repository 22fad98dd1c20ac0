// A token is asked for once, and kept for this tab alone.

import { ApiError, Session, Who, get, remember } from "../api";
import { fill, h } from "../dom";
import { failure } from "../pieces";

export function signIn(place: HTMLElement, why: string | null, done: (who: Who) => void): void {
  const token = h("input", { type: "password", id: "token", name: "token", autocomplete: "off", spellcheck: "false", required: true, placeholder: "annals_…" });
  const tenant = h("input", { id: "tenant", autocomplete: "off", spellcheck: "false" });
  const reason = h("input", { id: "reason", autocomplete: "off", maxlength: "200", placeholder: "ticket 4711" });
  const operator = h("div", { class: "operator" },
    h("p", { class: "note" }, "This is an operator's token. Whose data, and why: both are written into the audit log before anything is read."),
    h("label", { for: "tenant" }, "Tenant"), tenant, h("label", { for: "reason" }, "Reason"), reason);
  operator.hidden = true;
  const said = h("div", { class: "said-slot", role: "alert" }, why ? h("p", { class: "problem" }, why) : null);
  const button = h("button", { class: "primary", type: "submit" }, "Open");

  const submit = async (event: Event) => {
    event.preventDefault();
    const own: Session = { token: token.value.trim() };
    if (!operator.hidden) Object.assign(own, { tenant: tenant.value.trim(), reason: reason.value.trim() });
    fill(said);
    // Headers take no other characters.
    if (![own.token, own.tenant ?? "", own.reason ?? ""].every((text) => /^[\x20-\x7e]*$/.test(text))) {
      fill(said, h("p", { class: "problem" }, "Only plain letters, digits and punctuation are possible here."));
      return;
    }
    button.disabled = true;
    try {
      const who = await get<Who>("api/annals/whoami", {}, undefined, own);
      if (who.operator !== null && who.tenant === null) {
        if (!operator.hidden) fill(said, h("p", { class: "problem" }, "There is no such tenant, or no reason was given."));
        operator.hidden = false;
        tenant.focus();
        return;
      }
      remember(own);
      done(who);
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) fill(said, h("p", { class: "problem" }, "This token is not known. It may have been revoked."));
      else if (error instanceof ApiError && error.status === 403) fill(said, h("p", { class: "problem" }, "There is no such tenant, or no reason was given."));
      else fill(said, failure(error));
      token.select();
    } finally {
      button.disabled = false;
    }
  };
  fill(place, h("main", { class: "signin" }, h("form", { onsubmit: submit },
    h("h1", {}, "Annals"), h("p", { class: "lead" }, "Activity, metrics and reports of your sites."),
    h("label", { for: "token" }, "Token"), token, operator, said, button,
    h("p", { class: "note" }, "A token of the role ", h("code", {}, "viewer"), " is made with"),
    h("pre", {}, "annals token create --tenant NAME --role viewer"),
    h("p", { class: "note" }, "It stays in this tab, and is gone when the tab is closed."))));
  token.focus();
}

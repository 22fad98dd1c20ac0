// The editor of queries. It lives in a shadow root: there CodeMirror adopts its styles as sheets, which the page's policy
// allows, and not as elements, which it refuses.

import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, insertNewlineAndIndent } from "@codemirror/commands";
import { HighlightStyle, bracketMatching, syntaxHighlighting } from "@codemirror/language";
import { lintKeymap } from "@codemirror/lint";
import { EditorState, Prec } from "@codemirror/state";
import { EditorView, keymap, placeholder } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { PromQLExtension } from "@prometheus-io/codemirror-promql";
import { headers, session } from "./api";
import { h } from "./dom";
import { DAY } from "./time";

const colours = HighlightStyle.define([
  { tag: tags.name, color: "var(--code-name)" },
  { tag: tags.number, color: "var(--code-number)" },
  { tag: tags.string, color: "var(--code-string)" },
  { tag: tags.keyword, color: "var(--code-word)", fontWeight: "600" },
  { tag: tags.function(tags.variableName), color: "var(--code-word)" },
  { tag: tags.labelName, color: "var(--code-label)" },
  { tag: tags.operator, color: "var(--ink)" },
  { tag: tags.modifier, color: "var(--code-word)" },
  { tag: tags.paren, color: "var(--soft)" },
  { tag: tags.squareBracket, color: "var(--soft)" },
  { tag: tags.brace, color: "var(--soft)" },
  { tag: tags.comment, color: "var(--soft)", fontStyle: "italic" },
  { tag: tags.invalid, color: "var(--bad)" },
]);

const look = EditorView.theme({
  "&": { color: "var(--ink)", backgroundColor: "transparent", fontSize: "14px" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.6" },
  ".cm-content": { padding: "9px 0", caretColor: "var(--ink)", minHeight: "24px" },
  ".cm-line": { padding: "0 12px" },
  ".cm-placeholder": { color: "var(--soft)" },
  ".cm-cursor": { borderLeftColor: "var(--ink)" },
  "&.cm-focused .cm-matchingBracket": { backgroundColor: "var(--tint2)", color: "inherit" },
  ".cm-tooltip": {
    backgroundColor: "var(--raised)", color: "var(--ink)", border: "1px solid var(--rule)", borderRadius: "6px",
    boxShadow: "var(--shadow)", overflow: "hidden",
  },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { fontFamily: "var(--mono)", fontSize: "13px", maxHeight: "16em" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "3px 10px", lineHeight: "1.5" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { backgroundColor: "var(--accent)", color: "var(--on-accent)" },
  ".cm-completionMatchedText": { textDecoration: "none", fontWeight: "700" },
  ".cm-completionDetail": { color: "var(--soft)", fontStyle: "normal", marginLeft: "1.2em" },
  "li[aria-selected] .cm-completionDetail": { color: "inherit", opacity: "0.8" },
  ".cm-completionIcon": { display: "none" },
  ".cm-tooltip.cm-completionInfo": { padding: "8px 10px", maxWidth: "22em", fontFamily: "var(--sans)", fontSize: "13px" },
  ".cm-diagnostic": { padding: "6px 10px", fontFamily: "var(--sans)", fontSize: "13px", borderLeft: "3px solid var(--bad)" },
  ".cm-lintRange-error": { backgroundImage: "none", textDecoration: "underline wavy var(--bad) 1px", textUnderlineOffset: "4px" },
});

export interface Editor {
  element: HTMLElement;
  text(): string;
  focus(): void;
  destroy(): void;
}

/** An editor that calls `run` on Enter. */
export function editor(text: string, run: () => void): Editor {
  const host = h("div", { class: "editor" });
  const root = host.attachShadow({ mode: "open" });
  const promql = new PromQLExtension().setComplete({
    // Names of all times: a store may hold only old data.
    remote: { url: "..", requestHeaders: headers(session()), httpMethod: "GET", lookbackInterval: 20 * 365 * DAY, cache: { maxAge: 5 * 60_000 } },
  });
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: text,
      selection: { anchor: text.length },
      extensions: [
        history(), bracketMatching(), closeBrackets(), autocompletion({ maxRenderedOptions: 60 }),
        EditorView.lineWrapping, look, syntaxHighlighting(colours), promql.asExtension(),
        placeholder("sum by (site) (increase(http_requests[1h]))"),
        EditorView.contentAttributes.of({ "aria-label": "Query, in PromQL. Enter runs it." }),
        keymap.of([...completionKeymap, ...closeBracketsKeymap, ...lintKeymap]),
        Prec.high(keymap.of([
          { key: "Mod-Enter", run: () => (run(), true) },
          { key: "Shift-Enter", run: insertNewlineAndIndent },
        ])),
        // After completion had its turn at it.
        keymap.of([{ key: "Enter", run: () => (run(), true) }, ...defaultKeymap, ...historyKeymap]),
      ],
    }),
  });
  return {
    element: host, text: () => view.state.doc.toString(), focus: () => view.focus(),
    destroy: () => { promql.destroy?.(); view.destroy(); },
  };
}

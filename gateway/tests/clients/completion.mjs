// completion.mjs URL TOKEN: asks codemirror-promql what may stand at places of queries, of a store with `up` of jobs a and b,
// and prints the labels of what it offers, a line a query. Packages are those of ANNALS_NODE_MODULES.
import { createRequire } from 'node:module';

const [url, token] = process.argv.slice(2);
const require = createRequire(`${process.env.ANNALS_NODE_MODULES ?? process.cwd()}/any.js`);
const { EditorState } = require('@codemirror/state');
const { CompletionContext } = require('@codemirror/autocomplete');
const { PromQLExtension, newCompleteStrategy } = require('@prometheus-io/codemirror-promql');

const fetchFn = (input, init = {}) =>
  fetch(input, { ...init, headers: { ...init.headers, authorization: `Bearer ${token}` } });
const httpErrorHandler = (error) => {
  console.error(error);
  process.exitCode = 1;
};
const strategy = newCompleteStrategy({ remote: { url, fetchFn, httpMethod: 'POST', httpErrorHandler } });
for (const query of ['u', 'up{j', 'up{job="', 'sum by (']) {
  const state = EditorState.create({ doc: query, extensions: new PromQLExtension().asExtension() });
  const offered = await strategy.promQL(new CompletionContext(state, query.length, true));
  const own = (one) => !['keyword', 'function'].includes(one.type) && !['inf', 'nan'].includes(one.label);
  const labels = (offered?.options ?? []).filter(own);
  console.log(`${query}\t${labels.map((one) => one.label).sort().join(' ')}`);
}

// How long a page of 5 x 10,000 points takes from the answer to the drawn graph. Prints the median of its runs.
//
//   node draw.mjs PACKAGES CHROMIUM ADDRESS TOKEN

import { enter, open, settled, visit } from "./browser.mjs";

const [packages, chromium, base, token] = process.argv.slice(2);
const POINTS = 10_000, RUNS = 9, STEP = 15, END = 1_790_000_100;

const series = [0, 1, 2, 3, 4].map((k) => ({
  metric: { __name__: "m", k: String(k) },
  values: Array.from({ length: POINTS }, (_, i) => [END - (POINTS - 1 - i) * STEP, String(Math.round(1e3 * (5 + k + Math.sin(i / 200 + k) + Math.sin(i * 12.9898 + k) * 0.3)) / 1e3)]),
}));
const body = JSON.stringify({ status: "success", data: { resultType: "matrix", result: series } });

const faults = [], took = [];
const browser = await open(packages, chromium);
const { page } = await enter(browser, base, token, { viewport: { width: 1400, height: 900 } }, faults);
await page.route("**/api/v1/query_range", (route) => route.fulfill({ contentType: "application/json", body }));
for (let run = 0; run < RUNS; run++) {
  await page.goto(`${base}#/retention`);
  await settled(page);
  await visit(page, base, `query?q=m&r=${Math.round((POINTS - 1) * STEP / 60)}m&e=${END * 1000}&step=${STEP}`);
  await page.waitForSelector(".uplot canvas");
  took.push(await page.evaluate(() => {
    const last = (name) => performance.getEntriesByName(name).at(-1).startTime;
    return last("annals-drawn") - last("annals-answer");
  }));
}
const [points] = await page.$$eval(".said", (all) => all.map((one) => one.textContent));
await browser.close();
took.sort((a, b) => a - b);
const median = took[Math.floor(RUNS / 2)];
console.log(`${points}; from the answer to the drawn graph: ${median.toFixed(0)} ms (median of ${RUNS}; ${took[0].toFixed(0)} to ${took[RUNS - 1].toFixed(0)})`);
if (faults.length) console.log(faults.join("\n"));
process.exit(faults.length ? 1 : 0);

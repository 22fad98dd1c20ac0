// Every view, dark and light, narrow and wide, against a gateway that serves the demo store; how it is used by keyboard;
// what is shown where something is missing or wrong. Prints what is not as it should be, and ends with 1 then.
//
//   node views.mjs PACKAGES CHROMIUM ADDRESS VIEWER REPORT INGEST OPERATOR END [SHOTS]
//
// The tokens are of the tenant `agency`, END is the demo's last stamp, SHOTS a folder for pictures.

import { createServer, request } from "node:http";
import { join } from "node:path";
import { enter, open, settled, visit } from "./browser.mjs";

const [packages, chromium, base, viewer, report, ingest, operator, end, shots] = process.argv.slice(2);
const faults = [];
const expect = (holds, what) => { if (!holds) faults.push(what); };
/** A part of the check: where it cannot go on, the others do. */
async function part(name, work) {
  try {
    await work();
  } catch (error) {
    faults.push(`${name}: ${String(error.message).split("\n")[0]}`);
  }
}
const q = encodeURIComponent;
const HOURLY = q("sum by (site) (increase(http_requests[1h]))");
const SITE = "portal.example";

// What each view has to show.
const VIEWS = {
  overview: [`overview?e=${end}`, [".figures .figure:nth-child(5)", ".charts canvas", "text=portal.example", ".spark"]],
  site: [`overview?e=${end}&site=${SITE}`, ["h1:text('portal.example')", ".charts canvas"]],
  empty: ["overview?e=1600000000000", ["text=No signals in this range", "button.primary"]],
  ask: ["query", ["text=Ask something", ".examples a"]],
  graph: [`query?q=${HOURLY}&r=7d&e=${end}`, ["canvas", "td:has-text('magazine.example')", "text=3 series"]],
  table: [`query?q=${q("sum by (site, status) (increase(http_requests[1d]))")}&tab=table&e=${end}`, ["th:text('status')", "code:text-is('500')"]],
  explain: [`query?q=${HOURLY}&tab=explain&r=1d&e=${end}`, [".tree .bar", ".reads li"]],
  wrong: [`query?q=${q("sum by (site (up)")}`, [".failure .caret b", "text=The query cannot be read"]],
  none: [`query?q=${q("nothing_of_that_name")}&e=${end}`, ["text=No data"]],
  report: [`report?site=${SITE}`, ["iframe.report"]],
  month: ["report?site=*&span=month", ["iframe.report", ".lead:text('20')"]],
  retention: ["retention", [".lane .days", "text=What goes next", "text=professional"]],
  series: ["series", [".ranks .bar", "text=Most expensive queries", "td a code"]],
  ingest: [`ingest?e=${end}`, ["text=Refused, by reason", "canvas"]],
};

const browser = await open(packages, chromium);
for (const width of [1400, 400]) {
  for (const colorScheme of ["light", "dark"]) {
    const { context, page } = await enter(browser, base, viewer, { viewport: { width, height: 900 }, colorScheme }, faults);
    for (const [name, [hash, wanted]] of Object.entries(VIEWS)) {
      const at = `${name} at ${width} ${colorScheme}`;
      await part(at, async () => {
        await visit(page, base, hash);
        for (const selector of wanted) await page.waitForSelector(selector, { timeout: 20_000 });
      });
      const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      expect(over <= 0, `${at}: wider than the window by ${over} px`);
      // Blank is no state: whatever is shown, there is something to read in each panel.
      const blank = await page.$$eval("main .slot, main .panel", (all) => all.filter((one) => !one.hidden && !one.textContent.trim() && !one.querySelector("canvas, iframe")).length);
      expect(blank === 0, `${at}: ${blank} blank places`);
      expect(!(await page.evaluate(() => location.href)).includes("annals_"), `${at}: the token is in the address`);
      if (shots) await page.screenshot({ path: join(shots, `${name}-${width}-${colorScheme}.png`), fullPage: true });
    }
    await context.close();
  }
}

await part("by hand", async () => {
  // What is shown is in the address: the same address shows the same to somebody else, and Back goes back.
  const { context, page } = await enter(browser, base, viewer, { viewport: { width: 1400, height: 900 } }, faults);
  await visit(page, base, `overview?e=${end}`);
  await page.selectOption("select[aria-label=Range]", "14d");
  await settled(page);
  await page.click("text=portal.example");
  await settled(page);
  const address = page.url();
  expect(/r=14d/.test(address) && /site=portal\.example/.test(address), `state is not in the address: ${address}`);
  await page.goBack();
  await settled(page);
  expect((await page.textContent("h1")) === "Overview", "Back does not go back");
  // By keyboard alone: completion, a query, its table.
  await page.goto(`${base}#/query?e=${end}`);
  await settled(page);
  await page.keyboard.type("http_resp", { delay: 30 });
  await page.waitForSelector(".cm-tooltip-autocomplete li", { timeout: 20_000 });
  await page.keyboard.press("Escape");
  await page.keyboard.press("Control+A");
  await page.keyboard.type("sum(increase(http_requests[1d]");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Enter");
  await settled(page);
  expect(/q=sum/.test(page.url()), `Enter does not run: ${page.url()}`);
  await page.focus(".tabs [aria-selected=true]");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Enter");
  await settled(page);
  expect(/tab=table/.test(page.url()), "arrow keys do not move between tabs");
  await page.goto(`${base}#/query?q=${HOURLY}&r=7d&e=${end}`);
  await settled(page);
  await page.focus(".uplot");
  await page.keyboard.press("ArrowLeft");
  const said = await page.textContent(".chart .sr");
  expect(/magazine\.example/.test(said ?? ""), `a point is not said: ${said}`);
  // Where a series has no data there is a gap, and no zero.
  const only = [[Number(end) / 1000, "7"]];
  const sparse = { status: "success", data: { resultType: "matrix", result: [{ metric: { status: "200" }, values: only }] } };
  await page.route("**/api/v1/query_range", (route) => route.fulfill({ json: sparse }));
  for (const hash of [`query?q=m&r=1h&step=60&e=${end}`, `overview?r=7d&e=${end}&site=${SITE}`]) {
    await visit(page, base, hash);
    await page.focus(".uplot");
    const read = async () => {
      await page.keyboard.press("ArrowLeft");
      return page.textContent(".chart .sr");
    };
    const [there, gap] = [await read(), await read()];
    expect(/: 7/.test(there) && /no data/.test(gap), `a gap is no gap at ${hash}: ${there}; ${gap}`);
  }
  await page.unroute("**/api/v1/query_range");
  // The report comes in a frame in which nothing runs, with its style.
  await visit(page, base, `report?site=${SITE}`);
  const frame = await (await page.waitForSelector("iframe.report")).contentFrame();
  await frame.waitForSelector("h1");
  expect((await frame.$eval("main", (main) => getComputedStyle(main).maxWidth)) === "960px", "the report has no style");
  expect(!(await page.getAttribute("iframe.report", "sandbox")).includes("scripts"), "scripts may run in the report");
  // Signed out, nothing is left.
  await page.click("text=Sign out");
  await page.waitForSelector("#token");
  expect((await page.evaluate(() => sessionStorage.getItem("annals"))) === null, "a token is left");
  await page.fill("#token", "annals_000000000000_0");
  await page.click("button[type=submit]");
  await page.waitForSelector("text=This token is not known");
  await context.close();
});

// Each role sees its own views.
for (const [token, views] of [[report, ["Report"]], [ingest, ["Ingest"]]]) {
  const { context, page } = await enter(browser, base, token, {}, faults);
  await settled(page);
  const shown = await page.$$eval("nav a", (all) => all.map((one) => one.textContent));
  expect(shown.join() === views.join(), `a role sees ${shown}`);
  expect(!(await page.$(".failure")), `a role's first view is an error: ${await page.textContent("main")}`);
  await context.close();
}
await part("an operator", async () => {
  // An operator is asked whose data, and why.
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(base);
  await page.fill("#token", operator);
  await page.click("button[type=submit]");
  await page.waitForSelector("#tenant:visible");
  await page.fill("#tenant", "agency");
  await page.fill("#reason", "ticket 7");
  await page.click("button[type=submit]");
  await page.waitForSelector("text=operator ann");
  await page.goto(`${base}#/overview?e=${end}`);
  await settled(page);
  expect(await page.$(".charts canvas"), "an operator sees no charts");
  await context.close();
});
await part("below a path", async () => {
  // Below a path that a proxy takes away: all addresses are relative.
  const proxy = createServer((from, to) => {
    if (!from.url.startsWith("/deep/down/")) return to.writeHead(404).end();
    const { hostname, port } = new URL(base);
    from.pipe(request({ hostname, port, path: from.url.slice("/deep/down".length), method: from.method, headers: from.headers }, (answer) => {
      to.writeHead(answer.statusCode, answer.headers);
      answer.pipe(to);
    }));
  });
  await new Promise((listens) => proxy.listen(0, "127.0.0.1", listens));
  const below = `http://127.0.0.1:${proxy.address().port}/deep/down/ui`;
  const { context, page } = await enter(browser, below, viewer, {}, faults);
  await page.goto(`${below}/#/overview?e=${end}`);
  await settled(page);
  expect(await page.$(".charts canvas"), "there are no charts below a path");
  await context.close();
  proxy.close();
  proxy.closeAllConnections();
});
await browser.close();
for (const fault of faults) console.log(fault);
if (faults.length) process.exit(1);
console.log(`${Object.keys(VIEWS).length} views, dark and light, 400 and 1400 px wide: as they should be`);

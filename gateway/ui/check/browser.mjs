// A headless browser for the checks: Debian's Chromium, by playwright-core of the folder that is given.

import { createRequire } from "node:module";
import { join } from "node:path";

const QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** Opens it; the caller closes it. */
export function open(packages, executablePath) {
  const { chromium } = createRequire(join(packages, "/"))("playwright-core");
  return chromium.launch({ executablePath, args: QUIET });
}

/** A page that is signed in; what goes wrong in it is put into `faults`. */
export async function enter(browser, base, token, options, faults) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const origin = new URL(base).origin;
  page.on("pageerror", (error) => faults.push(`error: ${error.message}`));
  // A refusal of the page's policy is told here too. Answers of 4xx are, and are asked for.
  page.on("console", (said) => {
    if (["error", "warning"].includes(said.type()) && !/Failed to load resource/.test(said.text())) faults.push(said.text());
  });
  page.on("request", (request) => {
    if (!/^(about|blob|data):/.test(request.url()) && new URL(request.url()).origin !== origin) faults.push(`asked ${request.url()}`);
  });
  await page.goto(base);
  await page.fill("#token", token);
  await page.click("button[type=submit]");
  await page.waitForSelector("main h1");
  return { context, page };
}

/** Shows a view, and waits until all of it is there. */
export async function visit(page, base, hash) {
  await page.goto(`${base}#/${hash}`);
  await page.waitForFunction((wanted) => location.hash.startsWith(wanted), `#/${hash.split("?")[0]}`);
  await settled(page);
}

export async function settled(page) {
  await page.waitForTimeout(50);
  await page.waitForFunction(() => document.querySelector("main h1") && !document.querySelector("[aria-busy], .loading"), null, { timeout: 60_000 });
  await page.waitForTimeout(50);
}

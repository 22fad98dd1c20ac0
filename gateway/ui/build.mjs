// Bundles src into a folder: app.js, app.css, index.html, icon.svg, and the licences of what is in the bundle.

import { copyFileSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createRequire } from "node:module";

const [from, packages, to] = process.argv.slice(2);
const { buildSync } = createRequire(join(packages, "/"))("esbuild");

const built = buildSync({
  absWorkingDir: from,
  entryPoints: { app: "src/main.ts" },
  nodePaths: [packages],
  bundle: true, minify: true, format: "esm", target: ["es2022"], charset: "utf8",
  // Names of files are not part of what is built: the same sources give the same bytes anywhere.
  legalComments: "none", sourcemap: false, metafile: true, outdir: to, write: true,
});

const styles = buildSync({
  absWorkingDir: from, entryPoints: { app: "src/app.css" }, bundle: true, minify: true, charset: "utf8", nodePaths: [packages], write: false, outdir: to,
});
const chart = readFileSync(join(packages, "uplot/dist/uPlot.min.css"), "utf8");
writeFileSync(join(to, "app.css"), `${chart.trim()}\n${styles.outputFiles[0].text}`);
for (const file of ["index.html", "icon.svg"]) copyFileSync(join(from, "src", file), join(to, file));

const inputs = Object.keys(built.metafile.inputs);
const bundled = new Set();
for (const input of inputs) {
  const own = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
  if (own) bundled.add(own[1]);
}
let text = "What is in app.js and app.css beside the page's own sources, and under which licence.\n";
for (const name of [...bundled].sort()) {
  const folder = join(packages, name);
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((own) => /^licen[sc]e/i.test(own));
  const licence = file ? readFileSync(join(folder, file), "utf8").trim() : "";
  if (!licence && license !== "Apache-2.0") throw new Error(`${name} ${version} has no licence text`);
  text += `\n${"=".repeat(78)}\n${name} ${version} (${license})\n\n${licence || "Apache License, Version 2.0: the same text as this project's own LICENSE."}\n`;
}
writeFileSync(join(to, "LICENSES.txt"), text);

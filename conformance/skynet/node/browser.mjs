// Drives headless Chromium: node browser.mjs MODULES PORTAL UNIQUE SETTINGS REPORTS. Prints one JSON line for each row.
import { mkdir, readFile, readdir } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { equal, row, that } from "./rows.mjs";
import { typeRows } from "./types.mjs";

const [modules, portal, unique, settings, reports] = process.argv.slice(2);
const require = createRequire(join(modules, "_"));
const limits = JSON.parse(settings);
const here = dirname(fileURLToPath(import.meta.url));
const esbuild = require("esbuild");
const puppeteer = require("puppeteer-core");
const { convertSkylinkToBase32 } = require("skynet-js");
const say = (line) => console.log(JSON.stringify(line));
// Longest time for one answer of the browser, and for all rows of a page.
const ANSWER = 60_000;
const PAGE = 8 * 60_000;
// A name for the portal that is not in its settings.
const STRANGER = "portal.example";

async function bundle(entry) {
  const result = await esbuild.build({
    entryPoints: [join(here, entry)],
    nodePaths: [modules],
    bundle: true,
    minify: true,
    format: "esm",
    // What bundlers of that time provided to packages written for node.
    define: { global: "globalThis", "process.env.NODE_DEBUG": "undefined" },
    write: false,
    logLevel: "error",
  });
  return result.outputFiles[0].contents;
}

function within(time, promise, fault) {
  const late = new Promise((_, fail) => setTimeout(() => fail(new Error(`${fault} within ${time / 1000} s`)), time).unref());
  return Promise.race([promise, late]);
}

// The page's own server: an origin other than the portal's.
async function serve(script) {
  const page = `<!doctype html><meta charset="utf-8"><script type="module" src="/page.js"></script>`;
  const files = { "/": ["text/html", page], "/page.js": ["text/javascript", script] };
  const server = createServer((request, answer) => {
    const [type, content] = files[request.url] ?? [];
    answer.writeHead(type ? 200 : 404, { "Content-Type": type ?? "text/plain" });
    answer.end(content);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return server;
}

// All files in a folder and its subfolders, by path.
async function filesOf(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const pathOf = (entry) => join(entry.parentPath ?? entry.path, entry.name);
  const files = entries.filter((entry) => entry.isFile()).map(pathOf);
  return Promise.all(files.map(async (path) => [relative(folder, path), await readFile(path)]));
}

async function sdkRows(browser, origin) {
  const page = await browser.newPage();
  page.on("pageerror", (error) => say({ row: "the page throws nothing", ok: false, why: error.message }));
  await page.exposeFunction("say", (line) => say(JSON.parse(line)));
  let done;
  const judged = new Promise((resolve) => (done = resolve));
  await page.exposeFunction("judged", () => done());
  await page.goto(origin);
  await page.waitForFunction(() => window.judge);
  // The page says when it is done, since one answer may not take as long as all rows.
  await page.evaluate((argument) => void window.judge(argument).finally(() => window.judged()), { portal, unique, limits });
  await within(PAGE, judged, "the page did not judge all rows");
  await page.close();
}

// The app as its author would upload it: all files in one multipart request.
async function uploadApp(script) {
  const form = new FormData();
  for (const [path, content] of [...(await filesOf(join(here, "app"))), ["js/app.js", script]]) {
    form.append("files[]", new Blob([content], { type: typeOf(path) }), path);
  }
  form.append("files[]", new Blob([unique], { type: "text/plain" }), "unique.txt");
  const answer = await fetch(`${portal}/skynet/skyfile?filename=app`, { method: "POST", body: form });
  equal(answer.status, 200, "the status of the upload");
  return (await answer.json()).skylink;
}

function typeOf(path) {
  const types = {
    html: "text/html",
    css: "text/css",
    js: "text/javascript",
    svg: "image/svg+xml",
    json: "application/json",
  };
  return types[path.split(".").pop()] ?? "application/octet-stream";
}

// Opens the app at an address, and returns what a user sees.
async function open(browser, address, shot) {
  const page = await browser.newPage();
  const faults = [];
  page.on("pageerror", (error) => faults.push(error.message));
  await page.setViewport({ width: 900, height: 620 });
  await page.goto(address);
  const done = page.waitForFunction(() => document.body?.dataset.done, { timeout: 20_000 });
  await done.catch(() => faults.push("it was not done in 20 s"));
  await page.screenshot({ path: join(reports, shot) });
  const seen = await page.evaluate(() => ({
    address: location.href,
    outputs: Object.fromEntries(
      [...document.querySelectorAll("output")].map((output) => [output.id, output.textContent]),
    ),
    image: document.images[0]?.naturalWidth > 0,
    background: getComputedStyle(document.body).backgroundColor,
  }));
  await page.close();
  equal(faults, [], "the faults of the page");
  const { portal: found, ...outputs } = seen.outputs;
  equal(outputs, { script: "ran", data: "read by the app", upload: "came back" }, "what the app says");
  that(found.startsWith("http"), `the portal that the app found is ${found}`);
  that(seen.image, "the image did not load");
  equal(seen.background, "rgb(240, 248, 240)", "the background of the style sheet");
  return seen.address;
}

async function appRows(browser) {
  let skylink;
  await row(say, "app: a folder is uploaded as an app", async () => {
    skylink = await uploadApp(await bundle("app.mjs"));
  });
  if (!skylink) return;
  const { port } = new URL(portal);
  const subdomain = `http://${convertSkylinkToBase32(skylink)}.localhost:${port}/`;
  await row(say, "app: it opens by path", async () => {
    await open(browser, `${portal}/${skylink}/`, "skynet-app-by-path.png");
  });
  await row(say, "app: it opens by path without the last slash", async () => {
    await open(browser, `${portal}/${skylink}`, "skynet-app-by-path-no-slash.png");
  });
  await row(say, "app: it opens by base32 subdomain", async () => {
    equal(await open(browser, subdomain, "skynet-app-by-subdomain.png"), subdomain, "the address");
  });
  await row(say, "app: a file of it opens by subdomain", async () => {
    const page = await browser.newPage();
    await page.goto(`${subdomain}unique.txt`);
    equal(await page.evaluate(() => document.body.innerText), unique, "the text");
    await page.close();
  });
}

await mkdir(reports, { recursive: true });
const server = await serve(await bundle("page.mjs"));
const browser = await puppeteer.launch({
  executablePath: "/usr/bin/chromium",
  // Root has no sandbox to drop into; small containers have a small /dev/shm.
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", `--host-resolver-rules=MAP ${STRANGER} 127.0.0.1`],
  protocolTimeout: ANSWER,
});
try {
  await sdkRows(browser, `http://127.0.0.1:${server.address().port}/`);
  await appRows(browser);
  await typeRows(say, browser, portal, `http://${STRANGER}:${new URL(portal).port}`);
} finally {
  await within(ANSWER, browser.close(), "the browser did not end").catch(() => browser.process()?.kill("SIGKILL"));
  server.close();
}
say({ done: true });

// Foreign pages and a registry on this machine, in headless Chromium: node pages.mjs MODULES REGISTRY. It prints one
// JSON line for each row.
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { equal, row } from "./rows.mjs";

const [modules, registry] = process.argv.slice(2);
const puppeteer = createRequire(join(modules, "_"))("puppeteer-core");
const say = (line) => console.log(JSON.stringify(line));
// A name of an attacker that resolves to this machine.
const REBOUND = "rebound.example";
const UPLOADS = "/v2/a/blobs/uploads/";

const openUploads = async () => (await (await fetch(`${registry}/readyz`)).json()).open_uploads;

// A page at this address. No server has it, so the request is intercepted.
async function pageAt(browser, address) {
  const page = await browser.newPage();
  await page.setRequestInterception(true);
  page.on("request", (request) =>
    request.url() === address ? request.respond({ contentType: "text/html", body: "<p>" }) : request.continue(),
  );
  await page.goto(address);
  return page;
}

async function rows(browser, elsewhere) {
  await row(say, "a page of another origin opens no session and stores no blob", async () => {
    const page = await browser.newPage();
    await page.goto(elsewhere);
    const body = "from a page";
    const digest = `sha256:${createHash("sha256").update(body).digest("hex")}`;
    const send = (url, body) => fetch(url, { method: "POST", mode: "no-cors", body }).then((answer) => answer.type);
    equal(await page.evaluate(send, registry + UPLOADS, ""), "opaque", "what the page sees");
    await page.evaluate(send, `${registry}${UPLOADS}?digest=${digest}`, body);
    equal(await openUploads(), 0, "the open sessions");
    equal((await fetch(`${registry}/v2/a/blobs/${digest}`)).status, 404, "the status of the blob");
    await page.close();
  });
  await row(say, "a page whose name was rebound neither reads nor writes", async () => {
    const { port } = new URL(registry);
    const page = await pageAt(browser, `http://${REBOUND}:${port}/attack.html`);
    const send = (path, method) => fetch(path, { method }).then((answer) => answer.status);
    equal(await page.evaluate(send, "/v2/_catalog", "GET"), 403, "the status of a read");
    equal(await page.evaluate(send, UPLOADS, "POST"), 403, "the status of a write");
    equal(await openUploads(), 0, "the open sessions");
    await page.close();
  });
  await row(say, "the registry's own page writes", async () => {
    const page = await browser.newPage();
    await page.goto(`${registry}/v2/`);
    const begin = (path) => fetch(path, { method: "POST" }).then((answer) => answer.status);
    equal(await page.evaluate(begin, UPLOADS), 202, "the status");
    await page.close();
  });
}

const server = createServer((_, answer) => answer.writeHead(200, { "Content-Type": "text/html" }).end("<p>"));
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const browser = await puppeteer.launch({
  executablePath: "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    `--host-resolver-rules=MAP ${REBOUND} 127.0.0.1`,
    // Not all browsers protect local addresses; the registry has to.
    "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests",
  ],
});
try {
  await rows(browser, `http://127.0.0.1:${server.address().port}/`);
} finally {
  await browser.close();
  server.close();
}
say({ done: true });

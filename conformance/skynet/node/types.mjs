// Unusual media types in a browser: no upload runs a script with the origin that all uploads share.
import { NotHere, equal, row, that } from "./rows.mjs";

// Types that browsers treat as a document by some rule: lists, quotes, blanks, guesses.
const ODD = [
  "text/html",
  "Text/HTML ; charset=utf-8",
  "text/plain;charset=gbk,text/html",
  "text/plain,text/html",
  "text/plain, text/html;charset=utf-8",
  "text/html,text/plain",
  "text/plain;a=\",text/html;\"",
  "text/plain;a=\",text/html",
  "text/plain;a=',text/html;'",
  "text/plain,*/*,text/html",
  "image/png,image/svg+xml",
  "text/plain;,text/html;x",
  "text/html;text/plain",
  "text/html(text/plain)",
  "text/html\ttext/plain",
  "application/xhtml+xml",
  "image/svg+xml",
  "text/xml;charset=utf-7",
  "application/octet-stream,application/xml",
  "text/xsl",
  "application/rss+xml",
  "application/mathml+xml",
  "application/vnd.x+xml",
  "application/x-unheard-of",
  "multipart/x-mixed-replace;boundary=x",
  "multipart/related;boundary=x",
  "message/rfc822",
  "unknown/unknown",
  "application/unknown",
  "*/*",
  "text",
  "/html",
  "text/",
  "nonsense",
  ",",
  ";text/html",
];

const RAN = `document.documentElement.setAttribute("ran", self.origin)`;
const HTML = `<!doctype html><title>a</title><script>${RAN}</script>`;
const XML = `<html xmlns="http://www.w3.org/1999/xhtml"><script>${RAN}</script></html>`;
const SVG = `<svg xmlns="http://www.w3.org/2000/svg"><script>${RAN}</script></svg>`;
const PARTS = `--x\r\nContent-Type: text/html\r\n\r\n${HTML}\r\n--x--\r\n`;

function contentsFor(type) {
  if (type.startsWith("multipart/")) return [PARTS];
  return type.includes("svg") ? [SVG] : type.includes("xml") || type.includes("xsl") ? [XML, HTML] : [HTML, XML];
}

// The form is written by hand, since libraries correct the type.
async function upload(portal, type, content) {
  const head = `--b\r\nContent-Disposition: form-data; name="file"; filename="odd"\r\nContent-Type: ${type}\r\n\r\n`;
  const headers = { "Content-Type": "multipart/form-data; boundary=b" };
  const answer = await fetch(`${portal}/skynet/skyfile`, { method: "POST", headers, body: `${head}${content}\r\n--b--\r\n` });
  equal(answer.status, 200, `the status of an upload as ${type}`);
  return (await answer.json()).skylink;
}

// The origin with which the script of a page ran; undefined if none did.
async function ranAt(browser, address) {
  const page = await browser.newPage();
  try {
    // Content that is saved instead of shown ends the navigation with an error.
    await page.goto(address, { timeout: 20_000 }).catch((error) => that(/ERR_ABORTED/.test(error.message), error.message));
    const ran = await page.evaluate(() => document.documentElement?.getAttribute("ran") ?? null);
    return { ran, host: new URL(page.url() === "about:blank" ? address : page.url()).host };
  } finally {
    await page.close();
  }
}

// A portal may refuse names that it does not know.
async function answers(browser, origin) {
  const page = await browser.newPage();
  const answer = await page.goto(`${origin}/`);
  await page.close();
  return answer.ok();
}

// `stranger` is an address of the portal below which skylinks have no hosts, so browsers are not redirected.
export async function typeRows(say, browser, portal, stranger) {
  const links = [];
  await row(say, "types: odd ones are uploaded", async () => {
    for (const type of ODD) {
      for (const content of contentsFor(type)) links.push([type, await upload(portal, type, content)]);
    }
  });
  for (const [where, origin] of [["where skylinks have hosts", portal], ["where they have none", stranger]]) {
    await row(say, `types: no script runs with the shared origin ${where}`, async () => {
      if (!(await answers(browser, origin))) throw new NotHere("it does not answer to that name");
      const faults = [];
      const left = [...links];
      const reader = async () => {
        for (let next = left.pop(); next; next = left.pop()) {
          const { ran } = await ranAt(browser, `${origin}/${next[1]}`);
          if (ran === new URL(origin).origin) faults.push(next[0]);
        }
      };
      await Promise.all([reader(), reader(), reader(), reader()]);
      equal(faults, [], "the types that ran");
    });
  }
  await row(say, "types: a page on its own host runs", async () => {
    const [, link] = links[0];
    const { ran, host } = await ranAt(browser, `${portal}/${link}`);
    that(host.includes(".localhost:"), `it stayed at ${host}`);
    equal(ran, `http://${host}`, "the origin of the script");
  });
}

// Rows of @skynetlabs/skynet-nodejs: node nodejs.mjs MODULES PORTAL UNIQUE SCALE. Prints one JSON line for each row.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { equal, noise, row, that } from "./rows.mjs";
import { shared } from "./shared.mjs";

const [modules, portal, unique, settings] = process.argv.slice(2);
const require = createRequire(join(modules, "_"));
const limits = JSON.parse(settings);
const { SkynetClient } = require("@skynetlabs/skynet-nodejs");
const sdk = require("skynet-js");
const say = (line) => console.log(JSON.stringify(line));
const folder = await mkdtemp(join(tmpdir(), "skynet-nodejs-"));
const client = new SkynetClient(portal);
const MIB = 1 << 20;

async function write(path, content) {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
}

let count = 0;

async function upload(bytes, name) {
  const path = join(folder, `${count++}`, name);
  await write(path, bytes);
  return client.uploadFile(path);
}

async function uploadDirectory(files, name, options) {
  const path = join(folder, `${count++}`, name);
  for (const [file, content] of Object.entries(files)) await write(join(path, file), content);
  return client.uploadDirectory(path, options);
}

async function etag(skylink) {
  const answer = await fetch(await client.getSkylinkUrl(skylink));
  await answer.arrayBuffer();
  return answer.headers.get("etag");
}

// A file of noise in blocks of 1 MiB, and its SHA-256.
async function largeFile(name, length) {
  const path = join(folder, name);
  const file = await open(path, "w");
  const hash = createHash("sha256");
  for (let at = 0; at < length; at += MIB) {
    const block = noise(`${unique} ${name} ${at}`, Math.min(MIB, length - at));
    await file.write(block);
    hash.update(block);
  }
  await file.close();
  return { path, digest: hash.digest("hex") };
}

async function digestOf(path) {
  const hash = createHash("sha256");
  for await (const block of createReadStream(path)) hash.update(block);
  return hash.digest("hex");
}

// Uploads by TUS, reads the metadata, and downloads.
async function large(length, options) {
  const { path, digest } = await largeFile(`large-${length}.bin`, length);
  const requests = [];
  const skylink = await client.uploadFile(path, { ...options, onUploadProgress: (part) => requests.push(part) });
  that(/^sia:\/\/[\w-]{46}$/.test(skylink), `the skylink is ${skylink}`);
  that(requests.length > 0, "there was no progress");
  const { metadata } = await client.getMetadata(skylink);
  equal(metadata.filename, `large-${length}.bin`, "the name");
  equal(metadata.length, length, "the length");
  const down = join(folder, "down.bin");
  await client.downloadFile(down, skylink);
  equal(await digestOf(down), digest, "the SHA-256 of what came back");
  await rm(path);
  await rm(down);
}

await row(say, "a dry run stores nothing", async () => {
  const content = `dry ${unique}`;
  const dry = await client.uploadData(content, "dry.txt", { dryRun: true });
  const status = (await fetch(await client.getSkylinkUrl(dry))).status;
  equal(status, 404, "the status of the skylink after a dry run");
  equal(await client.uploadData(content, "dry.txt"), dry, "the skylink of the upload");
});
await row(say, "data from memory comes back", async () => {
  const skylink = await client.uploadData(`data ${unique}`, "data.txt");
  equal(`${await client.downloadData(skylink)}`, `data ${unique}`, "the content");
});
await row(say, "a directory comes back as zip and tar", async () => {
  const skylink = await uploadDirectory({ "a.txt": unique, "b/c.txt": "c" }, "dir", { disableDefaultPath: true });
  for (const [format, magic, at] of [["zip", "PK", 0], ["tar", "ustar", 257]]) {
    const path = join(folder, `down.${format}`);
    await client.downloadFile(path, skylink, { format });
    const file = await open(path);
    const { buffer } = await file.read(Buffer.alloc(magic.length), 0, magic.length, at);
    await file.close();
    equal(`${buffer}`, magic, `the mark of a ${format} file`);
  }
});
for (const { what, length, options } of limits.large) {
  await row(say, what, () => large(length, options));
}
// This SDK names the file after the key, and skyd refuses "." and a trailing slash.
const oddKeys = ["dataKeyż", "a key", "...", "%2e"];
const other = () => new SkynetClient(portal);
await shared({ client, sdk, upload, uploadDirectory, etag, unique, portal, limits, say, other, oddKeys });
await rm(folder, { recursive: true });
say({ done: true });

// Rows of skynet-js in a browser, on a page with another origin than the portal. The driver is browser.mjs.
import * as sdk from "skynet-js";
import { equal, noise, row, that } from "./rows.mjs";
import { shared } from "./shared.mjs";

const MIB = 1 << 20;

window.judge = async function judge({ portal, unique, limits }) {
  const say = (line) => window.say(JSON.stringify(line));
  const client = new sdk.SkynetClient(portal);

  const upload = async (bytes, name, type) => (await client.uploadFile(new File([bytes], name, { type }))).skylink;
  const uploadDirectory = async (files, name, options) => {
    const entries = Object.entries(files).map(([path, content]) => [path, new File([content], path.split("/").pop())]);
    return (await client.uploadDirectory(Object.fromEntries(entries), name, options)).skylink;
  };
  const etag = async (skylink) => {
    const answer = await client.getFileContentRequest(await client.getSkylinkUrl(skylink));
    return answer.headers.etag;
  };

  for (const { what, length, options } of limits.large) {
    await row(say, what, () => large({ client, unique }, length, options));
  }
  await row(say, "a custom file name takes effect", async () => {
    const file = new File([unique], "plain");
    const { skylink } = await client.uploadFile(file, { customFilename: "asdf!!" });
    equal((await client.getMetadata(skylink)).metadata.filename, "asdf!!", "the name");
  });
  await row(say, "progress of up- and download ends at the whole", async () => {
    const seen = [];
    const bytes = noise(`progress ${unique}`, 2 * limits.sector);
    const file = new File([bytes], "progress");
    const { skylink } = await client.uploadFile(file, { onUploadProgress: (part) => seen.push(part) });
    equal(seen.at(-1), 1, "the end of the upload");
    seen.length = 0;
    await client.getFileContentBinary(skylink, { onDownloadProgress: (part) => seen.push(part) });
    equal(seen.at(-1), 1, "the end of the download");
  });
  await row(say, "a page sees the headers that it needs", async () => {
    const skylink = await upload(noise(`headers ${unique}`, 500), "headers", "");
    const answer = await fetch(await client.getSkylinkUrl(skylink), { headers: { Range: "bytes=0-9" } });
    const wanted = ["etag", "content-range", "content-length", "skynet-skylink", "skynet-portal-api"];
    const missing = wanted.filter((name) => !answer.headers.get(name));
    equal(missing, [], "the headers that the browser hides");
  });
  // v2 of SkyDB names files by the key's hash here, so any key works.
  const oddKeys = [".", "..", "http://localhost:8000/", "", "dataKeyż"];
  const other = () => new sdk.SkynetClient(portal);
  await shared({ client, sdk, upload, uploadDirectory, etag, unique, portal, limits, say, other, oddKeys });
};

// Uploads by TUS, reads the metadata, and downloads.
async function large({ client, unique }, length, options) {
  const blocks = [];
  for (let at = 0; at < length; at += MIB) blocks.push(noise(`${unique} ${length} ${at}`, Math.min(MIB, length - at)));
  const file = new File(blocks, `large-${length}.bin`);
  const { skylink } = await client.uploadFile(file, options);
  that(/^sia:\/\/[\w-]{46}$/.test(skylink), `the skylink is ${skylink}`);
  const { metadata } = await client.getMetadata(skylink);
  equal([metadata.filename, metadata.length], [file.name, length], "the name and the length");
  const { data } = await client.getFileContentBinary(skylink);
  equal(await digest(data), await digest(await file.arrayBuffer()), "the SHA-256 of what came back");
}

async function digest(bytes) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

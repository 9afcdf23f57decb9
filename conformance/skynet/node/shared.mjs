// Rows for both JavaScript SDKs, whose clients have downloads, SkyDB, the registry and pins in common.
import { equal, noise, refused, row, sameBytes, that } from "./rows.mjs";

// What a case has: client, sdk (the exports of skynet-js), portal, upload(bytes, name, type), etag(skylink),
// uploadDirectory(files, name, options), unique (a word of this run), say, other() (a second client), oddKeys (data
// keys that the SDK can name a file after), limits {large, sector}.
export async function shared(context) {
  for (const [name, run] of [...files, ...directories, ...database, ...registry]) {
    await row(context.say, name, () => run(context));
  }
}

const encode = (text) => new TextEncoder().encode(text);

async function comesBack({ client }, skylink, bytes, what) {
  const { data } = await client.getFileContentBinary(skylink);
  sameBytes(data, bytes, what);
}


const files = [
  ["a small file comes back, with its type, portal and skylink", async (context) => {
    const { client, upload, unique, portal } = context;
    const skylink = await upload(encode(`text of ${unique}`), "small.txt", "text/plain");
    const answer = await client.getFileContent(skylink);
    equal(answer.data, `text of ${unique}`, "the content");
    that(answer.contentType.startsWith("text/plain"), `the type is ${answer.contentType}`);
    // A portal may call itself localhost.
    equal(new URL(answer.portalUrl).port, new URL(portal).port, "the port of the portal");
    equal(answer.skylink, skylink, "the skylink");
  }],
  ["the metadata of a file is as skyd writes it", async (context) => {
    const { client, upload, unique } = context;
    const content = encode(`metadata of ${unique}`);
    const skylink = await upload(content, "meta.json", "application/json");
    const { metadata } = await client.getMetadata(skylink);
    equal(metadata, {
      filename: "meta.json",
      length: content.length,
      subfiles: { "meta.json": { filename: "meta.json", contenttype: "application/json", len: content.length } },
      tryfiles: ["index.html"],
    }, "the metadata");
  }],
  ["a file of no bytes comes back", async (context) => {
    const skylink = await context.upload(new Uint8Array(), "nothing", "");
    equal((await context.client.getFileContent(skylink)).data, "", "the content");
  }],
  ["a file of one byte comes back", async (context) => {
    const skylink = await context.upload(encode("a"), "one", "");
    equal((await context.client.getFileContent(skylink)).data, "a", "the content");
  }],
  ["binary content comes back", async (context) => {
    const bytes = noise(`binary ${context.unique}`, 3000);
    await comesBack(context, await context.upload(bytes, "bar", ""), bytes, "the file");
  }],
  ["JSON comes back as an object", async (context) => {
    const json = { key: context.unique };
    const skylink = await context.upload(encode(JSON.stringify(json)), "j.json", "application/json");
    const { data, contentType } = await context.client.getFileContent(skylink);
    equal(data, json, "the object");
    equal(contentType, "application/json", "the type");
  }],
  ["names with spaces come back", async (context) => {
    const skylink = await context.upload(encode(context.unique), " foo bar ", "text/plain");
    equal((await context.client.getFileContent(skylink)).data, context.unique, "the content");
    equal((await context.client.getMetadata(skylink)).metadata.filename, " foo bar ", "the name");
  }],
  ["names in unicode come back", async (context) => {
    const name = "Grüße 漢字 🚀 ż.txt";
    const skylink = await context.upload(encode(context.unique), name, "text/plain");
    equal((await context.client.getFileContent(skylink)).data, context.unique, "the content");
    equal((await context.client.getMetadata(skylink)).metadata.filename, name, "the name");
  }],
  ["a file over one sector comes back", async (context) => {
    const bytes = noise(`sectors ${context.unique}`, 2 * context.limits.sector + 4097);
    await comesBack(context, await context.upload(bytes, "sectors.bin", ""), bytes, "the file");
  }],
  ["a part of a file comes back by range", async (context) => {
    const bytes = noise(`range ${context.unique}`, 5000);
    const skylink = await context.upload(bytes, "range.bin", "");
    const { data } = await context.client.getFileContentBinary(skylink, { range: "bytes=1000-1999" });
    sameBytes(data, bytes.slice(1000, 2000), "the part");
  }],
  ["ETags differ by name and by content", async (context) => {
    const one = await context.upload(encode(context.unique), "one name", "");
    const name = await context.upload(encode(context.unique), "another name", "");
    const content = await context.upload(encode(`${context.unique}!`), "one name", "");
    const tags = await Promise.all([one, name, content].map((skylink) => context.etag(skylink)));
    that(tags.every(Boolean), `an ETag is missing: ${tags}`);
    equal(new Set(tags).size, 3, "how many ETags there are");
  }],
  ["a pinned skylink is named in the answer", async (context) => {
    const skylink = await context.upload(noise(`pin ${context.unique}`, 900), "pinned", "");
    equal((await context.client.pinSkylink(skylink)).skylink, skylink, "the pinned skylink");
  }],
  ["an unknown skylink is refused with a message", async ({ client }) => {
    const skylink = "AABvi7JtJbQSMAcDwnUnmp2FKDPjg8_tTTFP4BwMSxVdEg";
    const error = await refused(client.getFileContent(skylink), "an unknown skylink");
    equal(error.responseStatus, 404, "the status");
    that(error.responseMessage?.length > 0, "there is no message");
  }],
];

const directories = [
  ["a directory comes back as a zip and file by file", async (context) => {
    const { client, uploadDirectory, unique } = context;
    const files = { "file1.jpeg": unique, "file 2.jpeg": "foo2", "deep/er/ż.txt": "deep" };
    const skylink = await uploadDirectory(files, "dirname");
    const whole = await client.getFileContent(skylink);
    equal(whole.contentType, "application/zip", "the type");
    equal(whole.skylink, skylink, "the skylink");
    for (const [path, content] of Object.entries(files)) {
      equal((await client.getFileContent(skylink, { path })).data, content, path);
    }
  }],
  ["a directory with an index opens at its root", async (context) => {
    const skylink = await context.uploadDirectory({ "index.html": `<p>${context.unique}`, "a.css": "p {}" }, "site");
    const answer = await context.client.getFileContent(skylink);
    equal(answer.data, `<p>${context.unique}`, "the content");
    that(answer.contentType.startsWith("text/html"), `the type is ${answer.contentType}`);
  }],
  ["tryfiles are served for what is not there", async (context) => {
    const options = { tryFiles: ["good_news.html"] };
    const skylink = await context.uploadDirectory({ "good_news.html": context.unique, "b.txt": "b" }, "site", options);
    equal((await context.client.getFileContent(`${skylink}/b.txt`)).data, "b", "what is there");
    equal((await context.client.getMetadata(skylink)).metadata.tryfiles, ["good_news.html"], "the metadata's tryfiles");
    equal((await context.client.getFileContent(skylink)).data, context.unique, "the root");
  }],
  ["error pages are served with their status", async (context) => {
    const options = { tryFiles: [], errorPages: { 404: "/404.html" } };
    const files = { "404.html": `gone ${context.unique}`, "b.txt": "b" };
    const skylink = await context.uploadDirectory(files, "site", options);
    equal((await context.client.getMetadata(skylink)).metadata.errorpages, { 404: "/404.html" }, "the error pages");
    const error = await refused(context.client.getFileContent(`${skylink}/missing`), "a missing file");
    equal(error.responseStatus, 404, "the status");
  }],
];

const database = [
  ["SkyDB sets, gets and replaces JSON", async ({ client, sdk, unique }) => {
    const { publicKey, privateKey } = sdk.genKeyPairAndSeed();
    for (const json of [{ data: unique }, { data: "again" }]) {
      await client.dbV2.setJSON(privateKey, "app", json);
      const { data, dataLink } = await client.dbV2.getJSON(publicKey, "app");
      equal(data, json, "the JSON");
      that(dataLink?.startsWith("sia://"), `the data link is ${dataLink}`);
    }
  }],
  ["another client reads what SkyDB holds", async ({ client, sdk, other, unique }) => {
    const { publicKey, privateKey } = sdk.genKeyPairAndSeed();
    await client.dbV2.setJSON(privateKey, "app", { unique });
    equal((await other().dbV2.getJSON(publicKey, "app")).data, { unique }, "the JSON");
  }],
  ["odd data keys of SkyDB work", async ({ client, sdk, oddKeys }) => {
    for (const key of oddKeys) {
      const { publicKey, privateKey } = sdk.genKeyPairAndSeed();
      await client.dbV2.setJSON(privateKey, key, { key });
      equal((await client.dbV2.getJSON(publicKey, key)).data, { key }, `the JSON at "${key}"`);
    }
  }],
  ["SkyDB deletes JSON, and writes it again", async ({ client, sdk, unique }) => {
    const { publicKey, privateKey } = sdk.genKeyPairAndSeed();
    await client.dbV2.setJSON(privateKey, "app", { unique });
    await client.dbV2.deleteJSON(privateKey, "app");
    const gone = await client.dbV2.getJSON(publicKey, "app");
    equal([gone.data, gone.dataLink], [null, null], "what is left");
    const error = await refused(client.getFileContent(sdk.getEntryLink(publicKey, "app")), "a deleted entry link");
    equal(error.responseStatus, 404, "the status of a deleted entry link");
    await client.dbV2.setJSON(privateKey, "app", { unique: 2 });
    equal((await client.dbV2.getJSON(publicKey, "app")).data, { unique: 2 }, "the JSON");
  }],
  ["SkyDB of before (v1) sets and gets JSON", async ({ client, sdk, unique }) => {
    const { publicKey, privateKey } = sdk.genKeyPairAndSeed();
    await client.db.setJSON(privateKey, "old", { unique });
    equal((await client.db.getJSON(publicKey, "old")).data, { unique }, "the JSON");
  }],
  ["entry data of SkyDB comes back and is deleted", async ({ client, sdk }) => {
    const { publicKey, privateKey } = sdk.genKeyPairAndSeed();
    await client.dbV2.setEntryData(privateKey, "raw", new Uint8Array([1, 2, 3]));
    equal((await client.dbV2.getEntryData(publicKey, "raw")).data, new Uint8Array([1, 2, 3]), "the data");
    await client.dbV2.deleteEntryData(privateKey, "raw");
    equal((await client.dbV2.getEntryData(publicKey, "raw")).data, null, "what is left");
  }],
  ["a known data link is looked up but not fetched", async ({ client, sdk }) => {
    const { publicKey, privateKey } = sdk.genKeyPairAndSeed();
    await client.dbV2.setJSON(privateKey, "app", { a: 1 });
    const { dataLink } = await client.dbV2.getJSON(publicKey, "app");
    const raw = await client.dbV2.getRawBytes(publicKey, "app", { cachedDataLink: dataLink });
    equal([raw.data, raw.dataLink], [null, dataLink], "the answer");
  }],
  ["an encrypted file is read back, and only with its key", async ({ client, sdk, upload, unique }) => {
    const { publicKey, privateKey } = sdk.genKeyPairAndSeed();
    const seed = Array.from(noise(`seed ${unique}`, 32), (byte) => byte.toString(16).padStart(2, "0")).join("");
    const key = sdk.deriveEncryptedFileKeyEntropy(seed);
    const secret = sdk.encryptJSONFile({ message: unique }, { version: sdk.ENCRYPTED_JSON_RESPONSE_VERSION }, key);
    const skylink = await upload(secret, "secret", "application/octet-stream");
    const tweak = sdk.deriveEncryptedFileTweak(seed);
    await client.dbV2.setDataLink(privateKey, tweak, skylink, { hashedDataKeyHex: true });
    equal((await client.file.getJSONEncrypted(publicKey, seed)).data, { message: unique }, "the JSON");
    const { data } = await client.getFileContentBinary(skylink);
    that(!new TextDecoder().decode(data).includes(unique), "the file is not encrypted");
    equal((await client.file.getJSONEncrypted(publicKey, "a".repeat(64))).data, null, "another path");
  }],
];

const registry = [
  ["an absent entry is null", async ({ client, sdk }) => {
    const { publicKey } = sdk.genKeyPairAndSeed();
    const { entry, signature } = await client.registry.getEntry(publicKey, "foo");
    equal([entry, signature], [null, null], "the entry");
  }],
  ["entries of text, unicode and nothing come back", async ({ client, sdk }) => {
    for (const data of [encode("text"), encode("∂"), new Uint8Array()]) {
      const { publicKey, privateKey } = sdk.genKeyPairAndSeed();
      const entry = { dataKey: "HelloWorld", data, revision: 0n };
      await client.registry.setEntry(privateKey, entry);
      equal((await client.registry.getEntry(publicKey, "HelloWorld")).entry, entry, "the entry");
    }
  }],
  ["an old revision is refused", async ({ client, sdk }) => {
    const { publicKey, privateKey } = sdk.genKeyPairAndSeed();
    const entry = (revision) => ({ dataKey: "k", data: encode("x"), revision });
    await client.registry.setEntry(privateKey, entry(1n));
    const error = await refused(client.registry.setEntry(privateKey, entry(0n)), "revision 0 after 1");
    equal(error.responseStatus, 400, "the status");
    that(error.responseMessage?.includes("provided revision number is invalid"), `it says ${error.responseMessage}`);
    equal((await client.registry.getEntry(publicKey, "k")).entry.revision, 1n, "the revision");
  }],
  ["the highest revision comes back exactly", async ({ client, sdk }) => {
    const { publicKey, privateKey } = sdk.genKeyPairAndSeed();
    const entry = { dataKey: "k", data: encode("max"), revision: sdk.MAX_REVISION };
    await client.registry.setEntry(privateKey, entry);
    equal((await client.registry.getEntry(publicKey, "k")).entry, entry, "the entry");
  }],
  ["a resolver skylink leads to its file, with a proof", async (context) => {
    const { client, sdk, upload, unique, portal } = context;
    const { publicKey, privateKey } = sdk.genKeyPairAndSeed();
    const skylink = await upload(encode(unique), "resolved", "text/plain");
    await client.dbV2.setDataLink(privateKey, "link", skylink);
    const link = sdk.getEntryLink(publicKey, "link");
    const answer = await client.getFileContent(link);
    equal(answer.data, unique, "the content");
    equal(answer.skylink, skylink, "the skylink it resolves to");
    equal((await client.getMetadata(link)).skylink, skylink, "the skylink of the metadata");
    const base32 = sdk.convertSkylinkToBase32(link.slice("sia://".length));
    equal(await (await fetch(`${portal}/${base32}`)).text(), unique, "the content by base32");
  }],
  ["a resolver skylink over another leads to its file", async ({ client, sdk, upload, unique }) => {
    const { publicKey, privateKey } = sdk.genKeyPairAndSeed();
    const skylink = await upload(encode(`deep ${unique}`), "resolved", "text/plain");
    await client.dbV2.setDataLink(privateKey, "inner", skylink);
    await client.dbV2.setDataLink(privateKey, "outer", sdk.getEntryLink(publicKey, "inner"));
    const answer = await client.getFileContent(sdk.getEntryLink(publicKey, "outer"));
    equal([answer.data, answer.skylink], [`deep ${unique}`, skylink], "the answer");
  }],
  ["the ETag of a resolver skylink follows its content", async (context) => {
    const { client, sdk, upload, unique, etag } = context;
    const { publicKey, privateKey } = sdk.genKeyPairAndSeed();
    const link = sdk.getEntryLink(publicKey, "etag");
    const tags = [];
    for (const content of ["first", "second"]) {
      const skylink = await upload(encode(`${content} ${unique}`), "file", "");
      await client.dbV2.setDataLink(privateKey, "etag", skylink);
      tags.push(await etag(link));
    }
    that(tags.every(Boolean) && tags[0] !== tags[1], `the ETags are ${tags}`);
  }],
];

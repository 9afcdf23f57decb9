// Rows of libskynet, which shares no code with portals: node libskynet.mjs MODULES PORTAL UNIQUE SETTINGS.
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { NotHere, equal, noise, row, sameBytes, that } from "./rows.mjs";

const [modules, portal, unique, settings] = process.argv.slice(2);
const limits = JSON.parse(settings);
const lib = await import(pathToFileURL(join(modules, "libskynet/dist/index.js")));
const say = (line) => console.log(JSON.stringify(line));
const SECTOR = 1 << 22;
const LAYOUT = 99;

// Its functions return a value and an error, like Go.
function ok(results) {
  const error = results.at(-1);
  that(error === null, `libskynet says ${error}`);
  return results.length > 2 ? results : results[0];
}

function encode(text) {
  return new TextEncoder().encode(text);
}

function concat(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((at, part) => {
    whole.set(part, at);
    return at + part.length;
  }, 0);
  return whole;
}

function padded(bytes) {
  const whole = new Uint8Array(SECTOR);
  whole.set(bytes);
  return whole;
}

function layout(length, metadata, fanout, pieces) {
  const sizes = [length, metadata, fanout].map((size) => ok(lib.encodeU64(BigInt(size))));
  const start = concat([new Uint8Array([1]), ...sizes, new Uint8Array([...pieces, 0, 0, 0, 0, 0, 0, 0, 1])]);
  return concat([start, new Uint8Array(LAYOUT - start.length)]);
}

// The skylink of a base sector that starts with these bytes.
function skylink(used) {
  const root = ok(lib.blake2bMerkleRoot(padded(used)));
  return lib.bufToB64(concat([ok(lib.skylinkV1Bitfield(BigInt(used.length))), root]));
}

async function upload(name, bytes, type = "application/octet-stream") {
  const address = `${portal}/skynet/skyfile?filename=${encodeURIComponent(name)}`;
  const answer = await fetch(address, { method: "POST", body: bytes, headers: { "Content-Type": type } });
  equal(answer.status, 200, "the status of the upload");
  return answer.json();
}

function needsSector() {
  if (limits.sector !== SECTOR) throw new NotHere("libskynet knows sectors of 4 MiB only");
}

async function smallFile(length) {
  const content = noise(`small ${unique} ${length}`, length);
  const metadata = encode(JSON.stringify({ filename: "small", length }));
  const want = skylink(concat([layout(length, metadata.length, 0, [0, 0]), metadata, content]));
  const got = await upload("small", content);
  equal(got.skylink, want, "the skylink");
  const bytes = ok(lib.b64ToBuf(got.skylink));
  that(lib.validSkylink(bytes), "libskynet holds the skylink for invalid");
  equal(got.merkleroot, lib.bufToHex(bytes.slice(2)), "the Merkle root");
  equal(got.bitfield, bytes[0] + 256 * bytes[1], "the bitfield");
}

await row(say, "skylinks of small files are recomputed", async () => {
  needsSector();
  for (const length of [0, 1, 1024, 32_768, 102_400, 3_000_000, SECTOR - LAYOUT - 37]) await smallFile(length);
});
await row(say, "a skylink over the edge of the base sector has a fanout", async () => {
  needsSector();
  if (limits.data !== 1) throw new NotHere("libskynet makes no parity");
  for (const length of [SECTOR - LAYOUT - 30, SECTOR, 2 * SECTOR + 1]) {
    const content = noise(`large ${unique} ${length}`, length);
    const roots = [];
    for (let at = 0; at < length; at += SECTOR) {
      roots.push(ok(lib.blake2bMerkleRoot(padded(content.slice(at, at + SECTOR)))));
    }
    const metadata = encode(JSON.stringify({ filename: "large", length }));
    const start = layout(length, metadata.length, 32 * roots.length, [limits.data, limits.parity]);
    const want = skylink(concat([start, ...roots, metadata]));
    equal((await upload("large", content)).skylink, want, `the skylink of ${length} bytes`);
  }
});
// It evaluates a proof, but does not compare the result with the root. Skyd's client does (see recompute.rs).
for (const length of [0, 1, 5000, 40_000, 300_000, 4_000_000]) {
  await row(say, `a trustless download of ${length} bytes is proven`, async () => {
    needsSector();
    const content = noise(`trustless ${unique} ${length}`, length);
    const { skylink } = await upload("trustless", content);
    sameBytes(await trustless(skylink), content, "the file");
  });
}
// libskynet requires revisions as bigints, but its own parser returns numbers, so it refuses all proofs that it parses.
function parseProof(text) {
  const entries = JSON.parse(text.replace(/"revision":(\d+)/g, '"revision":"$1"'));
  return [entries].flat().map((entry) => ({ ...entry, revision: BigInt(entry.revision) }));
}

async function trustless(link) {
  const answer = await fetch(`${portal}/skynet/trustless/basesector/${link}`);
  const result = { fileData: new Uint8Array(0), err: null };
  const error = await lib.verifyDownloadResponse(answer, ok(lib.b64ToBuf(link)), result);
  that(error === null, `libskynet says ${error}`);
  that(result.err === null, `libskynet says ${result.err}`);
  return result.fileData;
}

// An entry signed by libskynet, posted as JSON with a revision beyond JavaScript's numbers.
function entryOf(tag, revision, data) {
  const seed = noise(`seed ${unique} ${tag}`, 16);
  const [keys, datakey] = ok(lib.taggedRegistryEntryKeys(seed, "judge", tag));
  const message = lib.blake2b(concat([datakey, ok(lib.encodePrefixedBytes(data)), ok(lib.encodeU64(revision))]));
  const signature = ok(lib.ed25519Sign(message, keys.secretKey));
  const id = ok(lib.deriveRegistryEntryID(keys.publicKey, datakey));
  return { keys, datakey, revision, data, signature, link: ok(lib.resolverLink(id)) };
}

async function post(entry) {
  const body = JSON.stringify({
    publickey: { algorithm: "ed25519", key: Array.from(entry.keys.publicKey) },
    datakey: lib.bufToHex(entry.datakey),
    revision: 0,
    data: Array.from(entry.data),
    signature: Array.from(entry.signature),
  }).replace('"revision":0', `"revision":${entry.revision}`);
  const answer = await fetch(`${portal}/skynet/registry`, { method: "POST", body });
  equal(answer.status, 204, `the status of the entry (${await answer.text()})`);
}

await row(say, "an entry that libskynet signed is taken, and its signature verified", async () => {
  const entry = entryOf("entry", 18446744073709551614n, encode("some data"));
  await post(entry);
  const query = `publickey=ed25519%3A${lib.bufToHex(entry.keys.publicKey)}&datakey=${lib.bufToHex(entry.datakey)}`;
  const text = await (await fetch(`${portal}/skynet/registry?${query}`)).text();
  const [said] = parseProof(text);
  const [data, signature] = [ok(lib.hexToBuf(said.data)), ok(lib.hexToBuf(said.signature))];
  equal(said.revision, entry.revision, "the revision");
  sameBytes(data, entry.data, "the data");
  const valid = lib.verifyRegistrySignature(entry.keys.publicKey, entry.datakey, data, said.revision, signature);
  that(valid, "the signature is not valid");
});
await row(say, "the proof of a resolver skylink is verified, and its entry id recomputed", async () => {
  const { skylink } = await upload("resolved", encode(`resolved ${unique}`));
  const entry = entryOf("resolver", 3n, ok(lib.b64ToBuf(skylink)));
  await post(entry);
  const answer = await fetch(`${portal}/skynet/resolve/${entry.link}`);
  equal((await answer.json()).skylink, skylink, "what it resolves to");
  const proof = parseProof(answer.headers.get("skynet-proof"));
  const resolved = ok(lib.verifyResolverLinkProofs(ok(lib.b64ToBuf(entry.link)), proof));
  equal(lib.bufToB64(resolved), skylink, "what the proof proves");
});
await row(say, "a trustless download by a resolver skylink is proven", async () => {
  needsSector();
  const content = encode(`trustless ${unique}`);
  const { skylink } = await upload("trustless", content);
  const entry = entryOf("trustless", 0n, ok(lib.b64ToBuf(skylink)));
  await post(entry);
  const answer = await fetch(`${portal}/skynet/trustless/basesector/${entry.link}`);
  const proof = parseProof(answer.headers.get("skynet-proof"));
  const resolved = ok(lib.verifyResolverLinkProofs(ok(lib.b64ToBuf(entry.link)), proof));
  const [, offset, size] = lib.parseSkylinkBitfield(resolved);
  const [bytes, , error] = lib.verifyDownload(resolved.slice(2), offset, size, await answer.arrayBuffer());
  that(error === null, `libskynet says ${error}`);
  sameBytes(bytes, content, "the file");
});
say({ done: true });

// Judges deploy.yaml, then shows that it would have seen each of the mistakes below: one line per case.
import { readFileSync } from "node:fs";
import { generateManifest, validateSDL } from "@akashnetwork/chain-sdk";
import { parseDocument } from "yaml";
import { rules } from "./rules.mjs";

const source = readFileSync(new URL("../deploy.yaml", import.meta.url), "utf8");

/** All that is wrong with a text, as "who: what". */
function faults(text) {
  const document = parseDocument(text);
  if (document.errors.length > 0) return document.errors.map((error) => `yaml: ${error.message}`);
  const sdl = document.toJS();
  const found = (validateSDL(sdl) ?? []).map((error) => `parser: ${error.instancePath ?? ""} ${error.message}`);
  if (found.length === 0) {
    const manifest = generateManifest(sdl);
    if (!manifest.ok) found.push(`manifest: ${JSON.stringify(manifest.value)}`);
  }
  for (const [name, rule] of Object.entries(rules)) {
    found.push(...rule({ sdl, document }).map((fault) => `${name}: ${fault}`));
  }
  return found;
}

// [mistake, text in deploy.yaml, its replacement, the rule that must find it]
const mistakes = [
  ["a body above the ingress's limit", "max_body_size: 104857600", "max_body_size: 104857601", "parser"],
  ["a timeout above the ingress's limit", "read_timeout: 60000", "read_timeout: 60001", "parser"],
  ["a relative mount", "mount: /var/lib/skyberth", "mount: var/lib/skyberth", "parser"],
  ["an unknown key", "    env:\n", "    probes: []\n    env:\n", "parser"],
  ["a denomination of dollars", "denom: uact", "denom: ibc/170C677610AC31DF0904FFE09CD3B5C657492170E7E52372E48756B71E56F2F1", "parser"],
  ["a service name in capitals", /(?<=^ *)skyberth:$/gm, "Registry_1:", "service names follow Kubernetes"],
  ["a size in GB", "size: 50Gi", "size: 50GB", "sizes have units that the Go parser knows"],
  ["a class that does not exist", "class: beta3", "class: nvme", "storage classes exist"],
  ["a class without persistence", "persistent: true", "persistent: false", "a class of disk is persistent, ram is not"],
  ["the old denomination", "denom: uact", "denom: uakt", "prices are in uact"],
  ["no ingress", "as: 80\n", "as: 8080\n", "exactly one way in is the ingress"],
  ["off as a word of YAML", '["off"]', "[off]", "off is quoted"],
  ["a tag that moves", "skyberth:0.1.0", "skyberth:latest", "images are pinned"],
  ["an image without a tag", "skyberth:0.1.0", "skyberth", "images are pinned"],
  ["the data on the container's own disk", "mount: /var/lib/skyberth", "mount: /data", "data lies on a persistent volume"],
];

const counts = { pass: 0, FAIL: 0 };
function say(good, line) {
  const word = good ? "pass" : "FAIL";
  counts[word] += 1;
  console.log(`${word}  ${line}`);
}

const own = faults(source);
say(own.length === 0, `deploy.yaml ${own.length === 0 ? "is accepted" : own.join("; ")}`);
for (const [mistake, good, bad, who] of mistakes) {
  const text = source.replaceAll(good, bad);
  if (text === source) {
    say(false, `${mistake}: not made, deploy.yaml has no ${good}`);
    continue;
  }
  const found = faults(text);
  say(found.some((fault) => fault.startsWith(`${who}: `)), `${mistake} is seen: ${found.join("; ") || "nothing"}`);
}
console.log(`${counts.pass} passed, ${counts.FAIL} failed`);
process.exit(counts.FAIL === 0 ? 0 : 1);

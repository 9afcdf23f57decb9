// The outcomes of rows, in node and in a page.

// Thrown by a row that does not apply to this portal.
export class NotHere extends Error {}

// The line for a row. An exception is its failure.
export async function row(say, name, run) {
  const started = Date.now();
  const seconds = () => (Date.now() - started) / 1000;
  try {
    await run();
    say({ row: name, ok: true, seconds: seconds() });
  } catch (error) {
    const ok = error instanceof NotHere ? null : false;
    say({ row: name, ok, why: describe(error), seconds: seconds() });
  }
}

function describe(error) {
  const said = error?.responseMessage ? ` (${error.responseStatus}: ${error.responseMessage})` : "";
  return `${error?.message ?? error}${said}`.slice(0, 500);
}

export function that(holds, fault) {
  if (!holds) throw new Error(fault);
}

export function equal(got, want, what) {
  const [left, right] = [text(got), text(want)];
  that(left === right, `${what} should be ${right.slice(0, 200)}, is ${left.slice(0, 200)}`);
}

// A canonical text for all kinds of values. Keys of objects are sorted, since JSON has no order.
function text(value) {
  if (value instanceof ArrayBuffer) return text(new Uint8Array(value));
  if (ArrayBuffer.isView(value)) return `bytes ${Array.from(value).join(" ")}`;
  if (typeof value === "bigint") return `${value}n`;
  if (Array.isArray(value)) return `[${value.map(text).join(", ")}]`;
  if (value !== null && typeof value === "object") {
    const keys = Object.keys(value).sort();
    return `{${keys.map((key) => `${key}: ${text(value[key])}`).join(", ")}}`;
  }
  return JSON.stringify(value) ?? "undefined";
}

// The error of a promise. The row fails if there is none.
export async function refused(promise, what) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`${what} was not refused`);
}

// Bytes that depend only on this word and do not compress (xorshift32).
export function noise(word, length) {
  let state = 2166136261;
  for (const letter of word) state = Math.imul(state ^ letter.codePointAt(0), 16777619) >>> 0;
  state ||= 1;
  const words = new Uint32Array(Math.ceil(length / 4));
  for (let at = 0; at < words.length; at++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[at] = state;
  }
  return new Uint8Array(words.buffer, 0, length);
}

// A file, described by its parts, since comparing `length` bytes of noise as text is slow.
export function sameBytes(got, want, what) {
  const bytes = new Uint8Array(got.buffer ?? got, got.byteOffset ?? 0, got.byteLength);
  that(bytes.length === want.length, `${what}: ${bytes.length} bytes came back of ${want.length}`);
  const at = want.findIndex((byte, index) => byte !== bytes[index]);
  that(at < 0, `${what}: byte ${at} came back as another`);
}

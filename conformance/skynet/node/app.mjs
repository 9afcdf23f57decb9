// The script of the static web app: reads its own data, finds its portal, uploads to it, and reads that back.
import { SkynetClient } from "skynet-js";

const set = (id, text) => {
  document.getElementById(id).textContent = text;
};

async function fill(id, run) {
  try {
    set(id, await run());
  } catch (error) {
    set(id, `error: ${error.message}`);
  }
}

set("script", "ran");
await fill("data", async () => (await (await fetch("data/message.json")).json()).message);
const client = new SkynetClient();
await fill("portal", () => client.portalUrl());
await fill("upload", async () => {
  const { skylink } = await client.uploadFile(new File([location.href], "from the app.txt"));
  const { data } = await client.getFileContent(skylink);
  return data === location.href ? "came back" : `came back as ${data}`;
});
document.body.dataset.done = "yes";

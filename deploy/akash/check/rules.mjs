// Rules of Akash's chain and providers that its parser in JavaScript does not check. Each rule returns the faults that
// it finds in a parsed document (from the package `yaml`, which still knows how each scalar was written).
import { isPair, isScalar, visit } from "yaml";

const SERVICE_NAME = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;
const SIZE = /^[0-9]+(\.[0-9]+)?(k|Ki|[MGTPE]i?)$/;
const CLASSES = ["beta1", "beta2", "beta3", "default", "ram"];

const services = (sdl) => Object.entries(sdl.services ?? {});
const computes = (sdl) => Object.entries(sdl.profiles?.compute ?? {});
const volumes = (sdl) =>
  computes(sdl).flatMap(([name, profile]) => [profile.resources?.storage ?? []].flat().map((volume) => [name, volume]));

export const rules = {
  "service names follow Kubernetes": ({ sdl }) =>
    services(sdl).filter(([name]) => !SERVICE_NAME.test(name)).map(([name]) => `service ${name}`),

  "sizes have units that the Go parser knows": ({ sdl }) => [
    ...volumes(sdl).filter(([, volume]) => !SIZE.test(volume.size)).map(([name, volume]) => `${name}: ${volume.size}`),
    ...computes(sdl)
      .map(([name, profile]) => [name, profile.resources?.memory?.size])
      .filter(([, size]) => !SIZE.test(size))
      .map(([name, size]) => `${name}: memory ${size}`),
  ],

  "storage classes exist": ({ sdl }) =>
    volumes(sdl)
      .filter(([, { attributes }]) => attributes?.class !== undefined && !CLASSES.includes(attributes.class))
      .map(([name, { attributes }]) => `${name}: class ${attributes.class}`),

  "a class of disk is persistent, ram is not": ({ sdl }) =>
    volumes(sdl)
      .filter(([, { attributes }]) => attributes?.class !== undefined)
      .filter(([, { attributes }]) => (attributes.class === "ram") === (attributes.persistent === true))
      .map(([name, { attributes }]) => `${name}: class ${attributes.class}, persistent ${attributes.persistent}`),

  "prices are in uact": ({ sdl }) =>
    Object.entries(sdl.profiles?.placement ?? {})
      .flatMap(([place, { pricing }]) => Object.entries(pricing ?? {}).map(([name, price]) => [place, name, price]))
      .filter(([, , price]) => price.denom !== "uact")
      .map(([place, name, price]) => `${place}.${name}: ${price.denom}`),

  "exactly one way in is the ingress": ({ sdl }) => {
    const ways = services(sdl).flatMap(([, service]) => service.expose ?? []);
    const ingress = ways.filter((way) => (way.as ?? way.port) === 80 && (way.proto ?? "tcp") === "tcp");
    return ingress.length === 1 ? [] : [`${ingress.length} exposes as: 80`];
  },

  "off is quoted": ({ document }) => {
    const faults = [];
    visit(document, {
      Pair(_, pair) {
        if (!isPair(pair) || pair.key?.value !== "next_cases") return;
        for (const item of pair.value?.items ?? []) {
          if (isScalar(item) && item.type === "PLAIN" && /^off$/i.test(item.source)) faults.push("next_cases: off");
        }
      },
    });
    return faults;
  },

  "images are pinned": ({ sdl }) =>
    services(sdl)
      .filter(([, { image }]) => !/@sha256:[0-9a-f]{64}$/.test(image) && !/:[^/:]*[0-9][^/:]*$/.test(image))
      .map(([name, { image }]) => `${name}: ${image}`),

  "data lies on a persistent volume": ({ sdl }) => {
    const kept = new Set(volumes(sdl).filter(([, { attributes }]) => attributes?.persistent).map(([, { name }]) => name));
    return services(sdl)
      .filter(([, { params }]) => !Object.entries(params?.storage ?? {})
        .some(([name, { mount }]) => kept.has(name) && mount === "/var/lib/skyberth"))
      .map(([name]) => `service ${name}`);
  },
};

import { expect, test } from "bun:test";
import { createRequestSchema } from "../containers/container-config.ts";
import { parseJson } from "./body.ts";

test("parseJson() takes keys in any case, as Docker does, and one that is written right before others", () => {
  const text = JSON.stringify({
    image: "a",
    LABELS: { Cased: "as it is" },
    hostConfig: { memory: 5, Memory: 6, mounts: [{ type: "bind", bindoptions: { nonrecursive: true } }] },
    networkingconfig: { endpointsConfig: { Net: { ALIASES: ["x"] } } },
    EXPOSEDPORTS: { "80/tcp": {} },
  });
  const { Image, Labels, ExposedPorts, HostConfig, NetworkingConfig } = parseJson(text, createRequestSchema);
  expect({ Image, Labels, ExposedPorts }).toEqual({
    Image: "a",
    Labels: { Cased: "as it is" },
    ExposedPorts: ["80/tcp"],
  });
  expect(HostConfig).toMatchObject({
    Memory: 6,
    Mounts: [{ Type: "bind", BindOptions: { NonRecursive: true } }],
  });
  expect(NetworkingConfig.EndpointsConfig.Net?.Aliases).toEqual(["x"]);
});

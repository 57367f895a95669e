import { expect, test } from "bun:test";
import { z } from "zod";
import { parseJson } from "./body.ts";

test("parseJson() takes fields in any case, and leaves the keys of maps alone", () => {
  const schema = z.object({
    Image: z.string(),
    Labels: z.record(z.string(), z.string()).nullish(),
    Mounts: z.array(z.object({ ReadOnly: z.boolean().default(false) })).nullish(),
    HostConfig: z
      .object({ Memory: z.number() })
      .nullish()
      .transform((host) => host?.Memory ?? 0),
    Ports: z.record(z.string(), z.array(z.object({ HostPort: z.string() }))).optional(),
  });
  const text = JSON.stringify({
    image: "b",
    labels: { Image: "x", labels: "y" },
    MOUNTS: [{ readonly: true }, {}],
    hostConfig: { memory: 5 },
    ports: { "80/tcp": [{ hostport: "1" }] },
    other: 1,
  });
  expect(parseJson(text, schema)).toEqual({
    Image: "b",
    Labels: { Image: "x", labels: "y" },
    Mounts: [{ ReadOnly: true }, { ReadOnly: false }],
    HostConfig: 5,
    Ports: { "80/tcp": [{ HostPort: "1" }] },
  });
  expect(() => parseJson('{"image":5}', schema)).toThrow("invalid JSON: Image: ");
  expect(() => parseJson('{"Image":"a","hostconfig":[]}', schema)).toThrow("invalid JSON: HostConfig: ");
});

import { describe, expect, test } from "bun:test";
import { EngineRefusal } from "../engine/client.ts";
import type { ContainerSummary, ImageSummary } from "../engine/types.ts";
import { FlagValues } from "../flags.ts";
import { formatList } from "../format/list.ts";
import { createBody } from "./create-options.ts";
import { parseFilters } from "./filters.ts";
import { imageRows } from "./images.ts";
import { containerColumns, formatPorts } from "./ps.ts";
import { exitCodeOf } from "./run.ts";
import { parseTimestamp } from "./timestamp.ts";

const NOW = Date.UTC(2026, 10, 24);
const digest = `sha256:${"ab".repeat(32)}`;

const container: ContainerSummary = {
  Id: "0123456789abcdef",
  Names: ["/other/link", "/web"],
  Image: `busybox@${digest}`,
  ImageID: `sha256:${"cd".repeat(32)}`,
  Command: "sh -c 'while true; do sleep 1; done'",
  Created: NOW / 1000 - 90,
  Ports: null,
  Labels: { b: "2", a: "1" },
  State: "running",
  Status: "Up About a minute",
};

describe("docker ps", () => {
  test("cuts what is long, and does not with --no-trunc", () => {
    const row = (trunc: boolean) =>
      Object.entries(containerColumns(trunc, NOW)).map(([name, { value }]) => `${name}=${value(container)}`);
    expect(row(true)).toEqual(
      expect.arrayContaining([
        "ID=0123456789ab",
        "Names=web",
        "Image=busybox",
        `Command="sh -c 'while true; …"`,
        "RunningFor=About a minute ago",
        "Labels=a=1,b=2",
      ]),
    );
    expect(row(false)).toEqual(expect.arrayContaining(["Names=other/link,web", `Image=busybox@${digest}`]));
  });

  test("formats: quiet, json, table with a template", () => {
    const options = {
      type: "*formatter.ContainerContext",
      columns: containerColumns(true, NOW),
      usual: "table {{.ID}}\t{{.Names}}",
      quiet: false,
    };
    expect(formatList([container], { ...options, format: "table", quiet: true })).toBe("0123456789ab\n");
    expect(formatList([container], { ...options, format: "table" })).toBe(
      "CONTAINER ID   NAMES\n0123456789ab   web\n",
    );
    expect(formatList([container], { ...options, format: "table {{.Names}}\\t{{.State}}" })).toBe(
      "NAMES     STATE\nweb       running\n",
    );
    expect(JSON.parse(formatList([container], { ...options, format: "json" }))).toMatchObject({
      Names: "web",
      Platform: null,
    });
    const labels = { ...options, labels: () => ({ "com.example.tier-name": "front" }) };
    const asked = 'table {{.Names}}\\t{{.Label "com.example.tier-name"}}|{{.Label "none"}}';
    const [title, line] = formatList([container], { ...labels, format: asked }).split("\n");
    expect(title).toMatch(/^NAMES +tier name\|none$/);
    expect(line).toMatch(/ front\|$/);
    expect(formatList([container], { ...labels, format: "json" })).not.toContain('"Label"');
    for (const format of ["{{.ID}} {{.Nope}}", "table {{.Nope}}", '{{.Label "a"}}'])
      expect(() => formatList([container], { ...options, format })).toThrow(
        /^failed to execute template: template: :1:\d+: executing "" at <\.\w+>: can't evaluate field \w+ in type \*formatter\.ContainerContext$/,
      );
    expect(formatList([], { ...options, format: "table {{.ID}} {{.Nope}}" })).toBe(
      "CONTAINER ID <no value>\n",
    );
    for (const format of ["{{.ID", "table {{end}}", "{{nofn .}}"])
      expect(() => formatList([], { ...options, format })).toThrow(
        /^failed to parse template: template: :1: /,
      );
    expect(formatList([], { ...options, format: "table" })).toBe("CONTAINER ID   NAMES\n");
  });

  test.each([
    [{ Status: "Up 5 seconds", Health: { Status: "none" } }, "none"],
    [{ Status: "Up 5 seconds (healthy)", Health: { Status: "healthy" } }, "healthy"],
    [{ Status: "Up 5 seconds (health: starting)" }, "starting"],
    [{ Status: "Up 5 seconds (unhealthy)" }, "unhealthy"],
    [{ Status: "Up 5 seconds (Paused)" }, ""],
  ])("HealthStatus of %j is %j", (more, health) => {
    const { HealthStatus } = containerColumns(true, NOW);
    expect(HealthStatus?.value({ ...container, ...more })).toBe(health);
  });

  test.each([
    [[], ""],
    [[{ PrivatePort: 80, Type: "tcp" }], "80/tcp"],
    [[{ IP: "0.0.0.0", PublicPort: 8080, PrivatePort: 80, Type: "tcp" }], "0.0.0.0:8080->80/tcp"],
    [[{ IP: "::", PublicPort: 8080, PrivatePort: 80, Type: "tcp" }], "[::]:8080->80/tcp"],
    [[9002, 9000, 9001].map((p) => ({ PrivatePort: p, Type: "tcp" })), "9000-9002/tcp"],
    [
      [80, 81].map((p) => ({ IP: "0.0.0.0", PublicPort: p, PrivatePort: p, Type: "tcp" })),
      "0.0.0.0:80-81->80-81/tcp",
    ],
  ])("formatPorts(%j) is %j", (ports, text) => {
    expect(formatPorts(ports)).toBe(text);
  });
});

test("imageRows() has a row for each tag, one for a digest alone, one for no name at all", () => {
  const image = (RepoTags: string[] | null, RepoDigests: string[] | null): ImageSummary => ({
    Id: digest,
    RepoTags,
    RepoDigests,
    Created: 1,
    Size: 1,
    SharedSize: -1,
    Containers: -1,
  });
  const rows = (summary: ImageSummary, digests = false) =>
    imageRows(summary, { digests }).map((row) => [row.repository, row.tag, row.digest]);
  expect(rows(image(["a:1", "a:2", "r.example:1/b:x"], [`a@${digest}`]))).toEqual([
    ["a", "1", "<none>"],
    ["a", "2", "<none>"],
    ["r.example:1/b", "x", "<none>"],
  ]);
  expect(rows(image(["a:1"], [`a@${digest}`, `c@${digest}`]), true)).toEqual([
    ["a", "1", digest],
    ["c", "<none>", digest],
  ]);
  expect(rows(image([], null))).toEqual([["<none>", "<none>", "<none>"]]);
  expect(rows(image(["<none>:<none>"], ["<none>@<none>"]))).toEqual([["<none>", "<none>", "<none>"]]);
});

test("parseFilters() gathers values by key", () => {
  expect(parseFilters(["name=a", "NAME=b", "label=k=v"], { reference: "x" })).toBe(
    '{"name":{"a":true,"b":true},"label":{"k=v":true},"reference":{"x":true}}',
  );
  expect(parseFilters([])).toBeUndefined();
});

test.each([
  ["", undefined],
  ["1700000000", "1700000000"],
  ["10m", "1795477800.000000000"],
  ["1h30m", "1795473000.000000000"],
  ["2026-11-24T00:00:00.123456789Z", "1795478400.123456789"],
  ["2026-11-24T01:00:00+01:00", "1795478400.000000000"],
])("parseTimestamp(%j) is %p", (text, expected) => {
  expect(parseTimestamp("since", text, NOW)).toBe(expected);
});

test("parseTimestamp() names what it can't read", () => {
  expect(() => parseTimestamp("since", "soon", NOW)).toThrow(
    'invalid value for "since": failed to parse value as time or duration: "soon"',
  );
});

test.each([
  ['exec: "x": executable file not found in $PATH', 127],
  ["stat /x: no such file or directory", 127],
  ['exec: "/x": permission denied', 126],
  ['exec: "/etc": is a directory', 126],
  ["Conflict", 125],
])("exitCodeOf() a start that failed by %s is %d", (message, exitCode) => {
  expect(exitCodeOf(new EngineRefusal(400, message))).toBe(exitCode);
});

describe("createBody()", () => {
  const flags = (values: Record<string, string[]>) => {
    const set = new FlagValues();
    for (const [name, list] of Object.entries(values)) for (const value of list) set.add(name, value);
    return set;
  };

  test("attaches all outputs by default, stdin with -i, and only what -a names", () => {
    const streams = (values: Record<string, string[]>) => {
      const body = createBody(flags(values), ["image"]);
      return [body.AttachStdin, body.AttachStdout, body.AttachStderr, body.OpenStdin, body.StdinOnce];
    };
    expect(streams({})).toEqual([false, true, true, false, false]);
    expect(streams({ interactive: ["true"] })).toEqual([true, true, true, true, true]);
    expect(streams({ attach: ["STDERR"] })).toEqual([false, false, true, false, false]);
    expect(streams({ attach: ["stdin"] })).toEqual([true, false, false, false, false]);
  });

  test("converts limits, labels and an emptied entry point", () => {
    const body = createBody(
      flags({ memory: ["64m"], cpus: ["1.5"], label: ["a=b=c", "d"], entrypoint: [""], network: ["host"] }),
      ["image", "cmd", "-x"],
    );
    expect(body).toMatchObject({
      Image: "image",
      Cmd: ["cmd", "-x"],
      Entrypoint: [""],
      Labels: { a: "b=c", d: "" },
      HostConfig: { Memory: 64 << 20, NanoCpus: 1.5e9, NetworkMode: "host", CapAdd: null },
    });
    expect(createBody(flags({}), ["image"])).not.toHaveProperty("Cmd");
    expect(createBody(flags({ network: ["name=x,alias=y,ip=10.0.0.9", "z"] }), ["image"])).toMatchObject({
      HostConfig: { NetworkMode: "x" },
      NetworkingConfig: {
        EndpointsConfig: { x: { Aliases: ["y"], IPAMConfig: { IPv4Address: "10.0.0.9" } }, z: {} },
      },
    });
    expect(() => createBody(flags({ network: ["alias=y"] }), ["image"])).toThrow(
      "network name is not specified",
    );
  });
});

import { expect, test } from "bun:test";
import os from "node:os";
import type { AboutContainer } from "./about.ts";
import { checkLogConfig, DRIVER_NAMES, logPlan } from "./log-plan.ts";

const about: AboutContainer = {
  id: "0123456789abcdef".repeat(4),
  name: "web",
  imageId: `sha256:${"fedcba9876543210".repeat(4)}`,
  imageName: "nginx:1",
  command: ["nginx", "-g", "daemon off"],
  created: "2026-01-01T00:00:00Z",
  env: ["COLOR=red", "SIZE=", "PATH=/bin", "BARE"],
  labels: { "com.example.team": "a b", "com.example.tier": "front", other: "x" },
  daemonName: "docker",
};
const inputs = { directory: "/c", about };
const plan = (Type: string, Config: Record<string, string> = {}) => {
  checkLogConfig({ Type, Config });
  return logPlan({ Type, Config }, inputs);
};
const path = `/c/${about.id}-json.log`;

test("logPlan() of json-file reads sizes, counts and booleans as Docker does", () => {
  expect(plan("")).toEqual({ file: { path }, readable: path });
  expect(plan("json-file", { "max-size": "10m", "max-file": "3", compress: "true" }).file).toEqual({
    path,
    maxSizeBytes: 10_000_000,
    maxFiles: 3,
    compress: true,
  });
  expect(plan("json-file", { "max-size": "1.5KiB", "max-file": "2", compress: "0" }).file).toEqual({
    path,
    maxSizeBytes: 1500,
    maxFiles: 2,
  });
  expect(plan("json-file", { mode: "blocking", "max-file": "3" }).file).toEqual({ path, maxFiles: 3 });
});

test("logPlan() of json-file puts labels, variables and the tag into the entries", () => {
  const { file } = plan("json-file", {
    labels: "other,missing",
    "labels-regex": "^com\\.example\\.t",
    env: "COLOR,BARE",
    "env-regex": "^SI",
    tag: "{{.ImageName}}/{{.Name}}/{{.ID}}",
  });
  expect(file?.attributes).toEqual({
    "com.example.team": "a b",
    "com.example.tier": "front",
    other: "x",
    COLOR: "red",
    SIZE: "",
    tag: "nginx:1/web/0123456789ab",
  });
});

test("logPlan() of local is bounded and compressed from the beginning; of none nothing is kept", () => {
  expect(plan("local")).toEqual({
    file: { path: "/c/local.log", maxSizeBytes: 20 << 20, maxFiles: 5, compress: true },
    readable: "/c/local.log",
  });
  expect(plan("local", { compress: "false", "max-file": "1", "max-size": "1k" }).file).toEqual({
    path: "/c/local.log",
    maxSizeBytes: 1000,
    maxFiles: 1,
  });
  expect(plan("none", { whatever: "x" })).toEqual({});
});

test("logPlan() of a remote driver keeps a copy to read, unless that isn't wanted", () => {
  const copy = { path: "/c/cached.log", maxSizeBytes: 20 << 20, maxFiles: 5, compress: true };
  const remote = {
    driver: "syslog",
    protocol: "udp",
    address: "10.0.0.1:514",
    tls: { ca: "", cert: "", key: "", skipVerify: false },
    facility: 16,
    format: "rfc5424",
    tag: "web",
  } as const;
  const options = {
    "syslog-address": "udp://10.0.0.1",
    "syslog-facility": "local0",
    "syslog-format": "rfc5424",
    tag: "{{.Name}}",
  };
  expect(plan("syslog", options)).toEqual({
    file: copy,
    readable: copy.path,
    logger: { config: { remote } },
  });
  const bounds = { "cache-max-size": "1m", "cache-max-file": "2", "cache-compress": "false" };
  expect(plan("syslog", { ...options, ...bounds }).file).toEqual({
    path: copy.path,
    maxSizeBytes: 1_000_000,
    maxFiles: 2,
  });
  expect(plan("syslog", { ...options, "cache-disabled": "true" })).toEqual({
    logger: { config: { remote } },
  });
});

test("logPlan() of journald names the container's fields as the journal takes them", () => {
  const { logger } = plan("journald", { labels: "com.example.team", env: "COLOR" });
  expect(logger?.config).toEqual({
    remote: {
      driver: "journald",
      socketPath: "/run/systemd/journal/socket",
      fields: {
        COM_EXAMPLE_TEAM: "a b",
        COLOR: "red",
        CONTAINER_ID: "0123456789ab",
        CONTAINER_ID_FULL: about.id,
        CONTAINER_NAME: "web",
        CONTAINER_TAG: "0123456789ab",
        IMAGE_NAME: "nginx:1",
        SYSLOG_IDENTIFIER: "0123456789ab",
      },
    },
  });
});

test("logPlan() of the mode non-blocking has a logger for files too, with a bounded buffer", () => {
  expect(plan("json-file", { mode: "non-blocking" })).toEqual({
    logger: { config: { file: { path } }, bufferBytes: 1 << 20 },
    readable: path,
  });
  expect(plan("syslog", { mode: "non-blocking", "max-buffer-size": "4m" }).logger?.bufferBytes).toBe(4 << 20);
});

test("a tag has Docker's fields, functions and pipelines", () => {
  const tag = (text: string) => plan("json-file", { tag: text, labels: "other" }).file?.attributes?.tag;
  expect(tag("{{.FullID}}")).toBe(about.id);
  expect(tag("{{.ImageID}} {{.DaemonName}} {{.Command}}")).toBe("fedcba987654 docker nginx -g daemon off");
  expect(tag("{{truncate .ID 4}}-{{.Name | upper}}")).toBe("0123-WEB");
  expect(tag('{{ index .ContainerLabels "com.example.tier" }}')).toBe("front");
  expect(tag("{{ (.ExtraAttributes nil).other }}")).toBe("x");
  expect(tag('{{with index .ContainerLabels "com.example.tier"}}{{.}}-{{end}}{{$n := .Name}}{{$n}}')).toBe(
    "front-web",
  );
  expect(tag('{{if eq .Name "web"}}w{{else}}o{{end}}{{range .ContainerArgs}}[{{.}}]{{end}}')).toBe(
    "w[-g][daemon off]",
  );
  expect(tag('{{index .ContainerLabels "none"}}{{printf "%s" .Hostname}}')).toBe(os.hostname());
  for (const bad of ["{{.Nope}}", "{{nope .ID}}", "{{.ID .Name}}", "{{if .ID}}x"]) {
    expect(() => tag(bad)).toThrow("template: log-tag:1:");
  }
});

test("drivers are listed by name", () => {
  expect(DRIVER_NAMES).toEqual(["journald", "json-file", "local", "none", "syslog"]);
});

const COMPRESS = "compress cannot be true when max-file is less than 2 or max-size is not set";
test.each([
  ["json-file", { compress: "true" }, COMPRESS],
  ["json-file", { compress: "true", "max-size": "1k" }, COMPRESS],
  ["json-file", { compress: "1", "max-file": "2" }, COMPRESS],
  ["json-file", { compress: "yes" }, 'strconv.ParseBool: parsing "yes": invalid syntax'],
  ["json-file", { "max-file": "0" }, "max-file cannot be less than 1"],
  ["json-file", { "max-file": "two" }, 'strconv.Atoi: parsing "two": invalid syntax'],
  ["json-file", { "max-size": "0" }, "max-size must be a positive number"],
  ["json-file", { "max-size": "ten" }, "invalid size: 'ten'"],
  ["json-file", { mode: "x" }, "logger: logging mode not supported: x"],
  [
    "json-file",
    { "max-buffer-size": "1m" },
    "max-buffer-size option is only supported with 'mode=non-blocking'",
  ],
  ["json-file", { mode: "non-blocking", "max-buffer-size": "x" }, "error parsing option max-buffer-size"],
  ["json-file", { "max-pace": "1" }, "unknown log opt 'max-pace' for json-file log driver"],
  ["json-file", { "env-regex": "(" }, "error parsing regexp: "],
  ["local", { labels: "x" }, "unknown log opt 'labels' for local log driver"],
  ["local", { "max-file": "1" }, "compression cannot be enabled when max file count is 1"],
  ["syslog", { "cache-max-file": "0" }, "max-file cannot be less than 1"],
  ["syslog", { "syslog-address": "http://x" }, "unsupported scheme: 'http'"],
  ["syslog", { "syslog-address": "unix:///no/such" }, "stat /no/such: no such file or directory"],
  ["syslog", { "syslog-address": "tcp://a b" }, "invalid syslog-address: tcp://a b"],
  ["syslog", { "syslog-facility": "local9" }, "invalid syslog facility"],
  ["syslog", { "syslog-facility": "24" }, "invalid syslog facility"],
  ["syslog", { "syslog-format": "rfc1" }, "Invalid syslog format"],
  ["syslog", { "syslog-tls-ca-cert": "/no/such" }, "open /no/such: no such file or directory"],
  ["journald", { "syslog-address": "x" }, "unknown log opt 'syslog-address' for journald log driver"],
  ["gelf", {}, 'error looking up logging plugin gelf: plugin "gelf" not found'],
] as [string, Record<string, string>, string][])(
  "checkLogConfig() refuses %s %p",
  (Type, Config, message) => {
    expect(() => checkLogConfig({ Type, Config })).toThrow(message);
  },
);

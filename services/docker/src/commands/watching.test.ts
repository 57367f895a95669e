import { expect, test } from "bun:test";
import { formatList } from "../format/list.ts";
import { showEvent } from "./events.ts";
import { portLines } from "./port.ts";
import { statsColumns } from "./stats-row.ts";

test("statsColumns() tells percentages and sums of both versions of cgroups, and -- without statistics", () => {
  const stats = {
    id: "0123456789abcdef",
    name: "/web",
    cpu_stats: { cpu_usage: { total_usage: 3e9 }, system_cpu_usage: 20e9, online_cpus: 4 },
    precpu_stats: { cpu_usage: { total_usage: 2e9 }, system_cpu_usage: 16e9 },
    memory_stats: { usage: 3 << 20, limit: 8 << 20, stats: { inactive_file: 1 << 20 } },
    networks: { eth0: { rx_bytes: 1000, tx_bytes: 1 }, eth1: { rx_bytes: 500, tx_bytes: 2 } },
    blkio_stats: {
      io_service_bytes_recursive: [
        { op: "Read", value: 1e6 },
        { op: "write", value: 2e6 },
      ],
    },
    pids_stats: { current: 7 },
  };
  const rows = [
    { name: "web", stats },
    { name: "gone", stats: undefined },
  ];
  const format =
    "{{.Container}} {{.ID}} {{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.MemPerc}} {{.NetIO}} {{.BlockIO}} {{.PIDs}}";
  expect(
    formatList(rows, {
      type: "*container.statsContext",
      columns: statsColumns(true),
      format,
      usual: "",
      quiet: false,
    }),
  ).toBe(
    "web 0123456789ab web 100.00% 2MiB / 8MiB 25.00% 1.5kB / 3B 1MB / 2MB 7\ngone -- -- -- -- -- -- -- --\n",
  );
});

test("showEvent() keeps all digits of the time, sorts attributes and takes templates", () => {
  const line =
    '{"Type":"container","Action":"die","Actor":{"ID":"abc","Attributes":{"name":"x","exitCode":"3"}},"scope":"local","time":1700000000,"timeNano":1700000000123456789}';
  expect(showEvent(line, "")).toMatch(/^20\S+\.123456789\S+ container die abc \(exitCode=3, name=x\)$/);
  expect(showEvent(line, "{{.Type}} {{.Action}} {{.Actor.Attributes.name}} {{.TimeNano}}")).toBe(
    "container die x 1700000000123456789",
  );
  expect(showEvent(line, "{{.Status}} {{.ID}}")).toBe("die abc");
  const old = line.replace(/^{/, '{"status":"told","id":"def",');
  expect(showEvent(old, "{{.Status}} {{.ID}}")).toBe("told def");
  expect(showEvent(line, "json")).toBe(line);
});

test("portLines() lists all in the order of their numbers, or one", () => {
  const ports = {
    "8080/tcp": [{ HostIp: "::", HostPort: "18080" }],
    "53/udp": [{ HostIp: "0.0.0.0", HostPort: "5353" }],
    "80/tcp": null,
  };
  expect(portLines(ports, "web", undefined)).toEqual(["53/udp -> 0.0.0.0:5353", "8080/tcp -> [::]:18080"]);
  expect(portLines(ports, "web", "53/udp")).toEqual(["0.0.0.0:5353"]);
  expect(() => portLines(ports, "web", "80")).toThrow("no public port '80' published for web");
});

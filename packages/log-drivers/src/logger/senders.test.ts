import { afterAll, expect, test } from "bun:test";
import dgram from "node:dgram";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import tls from "node:tls";
import { bindUnix, close, fixedBuffer, receive, receiveFds, socket } from "@longshore/syscalls";
import type { SyslogRemote } from "../driver.ts";
import { syslogMessage } from "../syslog-message.ts";
import { journalEntry, openJournaldSender } from "./journald-sender.ts";
import { checkReachable } from "./open-sender.ts";
import { openSyslogSender } from "./syslog-sender.ts";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const dir = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-senders-"));
afterAll(() => fs.rmSync(dir, { recursive: true }));

const remote = (given: Partial<SyslogRemote>): SyslogRemote => ({
  ...{ driver: "syslog", protocol: "", address: "", facility: 3, format: "rfc3164", tag: "web" },
  tls: { ca: "", cert: "", key: "", skipVerify: false },
  ...given,
});
const line = (text: string, stream: "stdout" | "stderr" = "stdout") => ({ stream, text: Buffer.from(text) });

test("syslogMessage() is what RFC 3164 and RFC 5424 ask for, and Docker's own format", () => {
  const now = { date: new Date(2026, 0, 2, 3, 4, 5, 678), micros: 9 };
  const message = (format: string, stream: "stdout" | "stderr" = "stdout", protocol = "udp") =>
    syslogMessage({ ...remote({ format, protocol }) }, stream, Buffer.from("hello"), now).toString();
  const [host, pid] = [os.hostname(), process.pid];
  expect(message("")).toBe(`<30>Jan  2 03:04:05 web[${pid}]: hello\n`);
  expect(message("rfc3164", "stderr")).toBe(`<27>Jan  2 03:04:05 ${host} web[${pid}]: hello\n`);
  expect(message("rfc5424")).toMatch(
    new RegExp(`^<30>1 2026-01-02T03:04:05(Z|[+-]\\d\\d:\\d\\d) ${host} web ${pid} web - hello\\n$`),
  );
  expect(message("rfc5424micro")).toContain("T03:04:05.678009");
  const framed = message("rfc5424", "stdout", "tcp+tls");
  const [length = ""] = framed.split(" ");
  expect(Buffer.byteLength(framed)).toBe(length.length + 1 + Number(length));
});

test("a syslog sender over TCP, also to a server that was started anew", async () => {
  const received: string[] = [];
  const sockets = new Set<net.Socket>();
  const listen = (port: number) => {
    const server = net.createServer((client) => {
      sockets.add(client);
      client.on("data", (chunk) => received.push(chunk.toString()));
      client.on("error", () => {});
    });
    server.listen(port, "127.0.0.1");
    return server;
  };
  const first = listen(0);
  await once(first, "listening");
  const { port } = first.address() as net.AddressInfo;
  const sender = await openSyslogSender(remote({ protocol: "tcp", address: `127.0.0.1:${port}` }));
  await sender.send(line("one"));
  while (!received.join("").includes("one")) await Bun.sleep(5);
  for (const client of sockets) client.destroy();
  first.close();
  await once(first, "close");
  const second = listen(port);
  await once(second, "listening");
  // What is written before the end is noticed may be lost, as with Docker.
  for (let n = 0; !received.join("").includes("again"); n++) {
    await sender.send(line(`again ${n}`));
    await Bun.sleep(5);
  }
  await sender.close();
  second.close();
  const unreachable = { ...remote({ protocol: "tcp", address: `127.0.0.1:${port}` }) };
  await expect(checkReachable(unreachable)).rejects.toThrow(
    `dial tcp 127.0.0.1:${port}: connect: connection refused`,
  );
});

test("syslog senders over UDP and to unix sockets of both kinds", async () => {
  const udp = dgram.createSocket("udp4");
  udp.bind(0, "127.0.0.1");
  await once(udp, "listening");
  const toUdp = await openSyslogSender(
    remote({ protocol: "udp", address: `127.0.0.1:${udp.address().port}` }),
  );
  const arrived = once(udp, "message");
  await toUdp.send(line("by udp", "stderr"));
  expect(String((await arrived)[0])).toMatch(/^<27>.* web\[\d+\]: by udp\n$/);
  await toUdp.close();
  udp.close();

  const file = path.join(dir, "log");
  const datagrams = socket(AF_UNIX, SOCK_DGRAM);
  bindUnix(datagrams, file);
  const toUnix = await openSyslogSender(remote({ protocol: "unixgram", address: file }));
  await toUnix.send(line("by datagram"));
  const into = fixedBuffer(4096);
  expect(into.toString("utf8", 0, receive(datagrams, into))).toEndWith(": by datagram\n");
  await toUnix.close();
  close(datagrams);

  const streamFile = path.join(dir, "stream");
  let text = "";
  const server = net.createServer((client) => client.on("data", (chunk) => (text += chunk.toString())));
  server.listen(streamFile);
  await once(server, "listening");
  const toStream = await openSyslogSender(remote({ protocol: "unix", address: streamFile }));
  await toStream.send(line("by stream"));
  while (!text.includes("by stream\n")) await Bun.sleep(5);
  await toStream.close();
  server.close();
  await expect(checkReachable(remote({ protocol: "unix", address: path.join(dir, "no") }))).rejects.toThrow(
    /^dial unix .*\/no: connect: no such file or directory$/,
  );
});

test("a syslog sender over TLS, which looks at the server's certificate unless told not to", async () => {
  const [key, cert] = [path.join(dir, "key.pem"), path.join(dir, "cert.pem")];
  const made = Bun.spawnSync(
    `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout ${key} -out ${cert}`.split(
      " ",
    ),
  );
  expect(made.stderr.toString()).not.toContain("rror");
  let text = "";
  const options = { key: fs.readFileSync(key), cert: fs.readFileSync(cert) };
  const server = tls.createServer(options, (client) => {
    client.on("data", (chunk) => {
      text += chunk.toString();
    });
    client.on("error", () => {});
  });
  server.on("tlsClientError", () => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = `127.0.0.1:${(server.address() as net.AddressInfo).port}`;
  const over = (given: Partial<SyslogRemote["tls"]>) =>
    remote({
      ...{ protocol: "tcp+tls", address, format: "rfc5424" },
      tls: { ca: "", cert: "", key: "", skipVerify: false, ...given },
    });
  await expect(checkReachable(over({}))).rejects.toThrow(`dial tcp ${address}: `);
  for (const given of [{ ca: cert }, { skipVerify: true }]) {
    text = "";
    const sender = await openSyslogSender(over(given));
    await sender.send(line("secret"));
    await sender.close();
    while (!text.includes("secret\n")) await Bun.sleep(5);
    expect(text).toMatch(/^\d+ <30>1 /);
  }
  server.close();
});

test("the journal gets fields, binary ones with their length, and what is too large as a sealed file", async () => {
  const socketPath = path.join(dir, "journal");
  await expect(checkReachable({ driver: "journald", socketPath, fields: {} })).rejects.toThrow(
    "journald is not enabled on this host",
  );
  const journal = socket(AF_UNIX, SOCK_DGRAM);
  bindUnix(journal, socketPath);
  const sender = openJournaldSender({ driver: "journald", socketPath, fields: { CONTAINER_NAME: "web" } });
  await sender.send(line("hello", "stderr"));
  const entry = receiveFds(journal, 32_768)?.data.toString() ?? "";
  expect(entry).toContain("CONTAINER_NAME=web\n");
  expect(entry).toContain("PRIORITY=3\n");
  expect(entry).toMatch(/^SYSLOG_TIMESTAMP=\d{4}-.*Z$/m);
  expect(entry).toEndWith("MESSAGE=hello\n");

  const big = `${"x".repeat(400_000)}\ny`;
  const large = openJournaldSender({ driver: "journald", socketPath, fields: { BIG: big } });
  await large.send(line("end"));
  const { data, fds } = receiveFds(journal, 32_768) ?? { data: Buffer.alloc(1), fds: [] };
  expect(data.length).toBe(0);
  const [fd = -1] = fds;
  const sealed = fs.readFileSync(`/proc/self/fd/${fd}`);
  expect(sealed.indexOf(`BIG\n`)).toBe(0);
  expect(Number(sealed.readBigUInt64LE(4))).toBe(big.length);
  expect(sealed.toString()).toEndWith("MESSAGE=end\n");
  expect(() => fs.writeFileSync(`/proc/self/fd/${fd}`, "changed")).toThrow();
  for (const one of [fd, journal]) close(one);
  await sender.close();
  await large.close();
});

test("journalEntry() marks the parts of a long line", () => {
  const part = (last: boolean) =>
    journalEntry({}, { ...line("x"), part: { id: 7, ordinal: 2, last } }, new Date(0)).toString();
  expect(part(false)).toContain(
    "CONTAINER_PARTIAL_MESSAGE=true\nCONTAINER_PARTIAL_ID=7\nCONTAINER_PARTIAL_ORDINAL=2\n",
  );
  expect(part(true)).toContain("CONTAINER_PARTIAL_LAST=true\n");
  expect(part(true)).not.toContain("CONTAINER_PARTIAL_MESSAGE");
});

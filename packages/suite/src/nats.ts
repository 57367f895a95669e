import crypto from "node:crypto";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import type { SuitePaths } from "./paths.ts";

export interface NatsSettings {
  /** Of the nats-server to start; undefined when a running one was given. */
  port: number | undefined;
  url: string;
}

/** A NATS server that runs already, with JetStream. */
export interface GivenNats {
  /** `nats://host:port`, without the token. */
  url: string;
  token: string;
}

/**
 * A server's address with its token, as NATS's own tools take it: `nats://TOKEN@host:port`.
 *
 * @throws Error without a token: every container on the host's network could read and forge events
 */
export function parseNatsUrl(text: string): GivenNats {
  const { protocol, username, host } = new URL(text);
  if (protocol !== "nats:" || username === "" || host === "")
    throw new Error(`not of the form nats://TOKEN@host:port: ${text.replace(/\/\/.*@/, "//")}`);
  return { url: `nats://${host}`, token: decodeURIComponent(username) };
}

async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("a TCP listener without a port");
  return address.port;
}

function readTrimmed(file: string): string | undefined {
  return fs.existsSync(file) ? fs.readFileSync(file, "utf8").trim() || undefined : undefined;
}

/**
 * Write nats-server's configuration and token, or only the token of one that is `given`. Both the port and the token stay the same from one start to the next,
 * because running shims have them and publish their containers' exits with them.
 */
export async function prepareNats(
  paths: SuitePaths,
  { port: givenPort, given }: { port?: number | undefined; given?: GivenNats | undefined } = {},
): Promise<NatsSettings> {
  if (given) {
    // Somebody else runs this server: its pid is not known here.
    fs.rmSync(paths.natsPidFile, { force: true });
    writeSecret(paths.natsTokenFile, `${given.token}\n`);
    return { port: undefined, url: given.url };
  }
  const portFile = path.join(paths.run, "nats.port");
  const port = givenPort ?? (Number(readTrimmed(portFile)) || (await freePort()));
  const token = readTrimmed(paths.natsTokenFile) ?? crypto.randomBytes(32).toString("hex");
  fs.mkdirSync(paths.natsStore, { recursive: true, mode: 0o700 });
  fs.chmodSync(paths.natsStore, 0o700);
  fs.writeFileSync(portFile, `${port}\n`, { mode: 0o600 });
  // No process is the server before nats-server has written its pid.
  if (!fs.existsSync(paths.natsPidFile)) writeSecret(paths.natsPidFile, "0\n");
  writeSecret(paths.natsTokenFile, `${token}\n`);
  const config = [
    'host: "127.0.0.1"',
    `port: ${port}`,
    "server_name: longshore",
    // Loopback is shared with every container on the host's network: they must not be able to read or forge events.
    `authorization { token: "${token}" }`,
    `pid_file: "${paths.natsPidFile}"`,
    `jetstream { store_dir: "${paths.natsStore}" }`,
    "",
  ];
  writeSecret(paths.natsConfig, config.join("\n"));
  return { port, url: `nats://127.0.0.1:${port}` };
}

function writeSecret(file: string, text: string): void {
  const part = `${file}.part`;
  fs.rmSync(part, { force: true });
  fs.writeFileSync(part, text, { mode: 0o600, flag: "wx" });
  fs.renameSync(part, file);
}

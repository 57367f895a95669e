import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { untilSo } from "./lab.ts";

const BUS_CONFIG = (socket: string) => `<!DOCTYPE busconfig PUBLIC
  "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
  "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path=${socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/><allow user="*"/>
  </policy>
</busconfig>
`;

/** A firewalld with a message bus of its own, in the network and mount namespaces of the calling process; it doesn't run yet. */
export async function openFirewalld() {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-firewalld-"));
  const bus = path.join(directory, "bus");
  const config = path.join(directory, "bus.conf");
  fs.writeFileSync(config, BUS_CONFIG(bus));
  const env = { ...process.env, DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${bus}` };
  const start = (command: string, ...args: string[]) => {
    const child = spawn(command, args, { env, stdio: "ignore" });
    const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
    return async () => {
      child.kill();
      await ended;
    };
  };
  const startBus = async () => {
    fs.rmSync(bus, { force: true });
    const stop = start("dbus-daemon", `--config-file=${config}`, "--nofork");
    await untilSo(() => fs.existsSync(bus), "the message bus is there");
    return stop;
  };
  let stopBus = await startBus();
  let stopFirewalld = async () => {};
  const state = () => Bun.spawnSync(["firewall-cmd", "--state"], { env }).exitCode;
  return {
    bus,
    async start() {
      const log = path.join(directory, "log");
      stopFirewalld = start("firewalld", "--nofork", "--nopid", `--log-file=${log}`);
      await untilSo(() => state() === 0, "firewalld runs");
    },
    stop: () => stopFirewalld(),
    /** Which ends everybody's connection to it. */
    async restartBus() {
      await stopBus();
      stopBus = await startBus();
    },
    async [Symbol.asyncDispose]() {
      await stopFirewalld();
      await stopBus();
      fs.rmSync(directory, { recursive: true });
    },
  };
}

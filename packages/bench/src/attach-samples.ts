// Makes and releases sandboxes with a published port, as dockerd does for a container; prints how long each took to make, in milliseconds.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { createLogger } from "@longshore/log";
import { openNetworks } from "@longshore/network";
import { openStore } from "@longshore/store";

const [, , rounds = ""] = process.argv;
const WARM_UP = 5;
const dir = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-attach-"));
const samples: number[] = [];
try {
  await using store = openStore(`sqlite:${path.join(dir, "engine.db")}`);
  const log = createLogger("attach", { level: "fatal" });
  const networks = await openNetworks({ stateDir: dir, bridge: "attach0", store, log });
  for (let round = 0; round < WARM_UP + Number(rounds); round++) {
    const sandboxId = `s${round}`;
    const started = performance.now();
    await networks.createSandbox({
      ...{ sandboxId, containerId: sandboxId, hostname: sandboxId, aliases: [] },
      attachments: [{ network: "bridge" }],
      ports: [{ protocol: "tcp", containerPort: 80, hostIp: "" }],
    });
    samples.push(performance.now() - started);
    await networks.releaseSandbox(sandboxId);
    // A container's start gives the engine time as well.
    await Bun.sleep(20);
  }
  await networks.uninstall();
} finally {
  fs.rmSync(dir, { recursive: true });
}
console.log(JSON.stringify(samples.slice(WARM_UP)));

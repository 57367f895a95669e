import { errorCode } from "@longshore/errors";
import type { Engine } from "../engine.ts";
import type { ApiCall } from "../http/call.ts";
import { Filters } from "../http/filters.ts";
import { PREDEFINED } from "./network-mode.ts";

/** `DELETE /networks/{id}` */
export async function removeNetwork(engine: Engine, nameOrId: string): Promise<void> {
  const { id, name, driver, configOnly } = await engine.networks.remove(nameOrId);
  if (configOnly) return; // nothing that anybody was on
  engine.events.emit("network", "destroy", id, { name, type: driver });
}

/** `POST /networks/prune` */
export async function pruneNetworks(engine: Engine, call: ApiCall): Promise<void> {
  const filters = Filters.parse(call.query.get("filters"), ["label", "label!", "until"]);
  const until = filters.until();
  const deleted: string[] = [];
  for (const { name, labels, created, containers, configOnly } of engine.networks.list()) {
    if (PREDEFINED.includes(name) || configOnly || Object.keys(containers).length > 0) continue;
    if (until !== undefined && BigInt(Date.parse(created)) * 1_000_000n > until) continue;
    if (!filters.matchLabels(labels)) continue;
    if (filters.has("label!") && filters.matchLabels(labels, "label!")) continue;
    try {
      await removeNetwork(engine, name);
      deleted.push(name);
    } catch (error) {
      if (!["not_found", "permission_denied"].includes(errorCode(error))) throw error; // gone or in use by now
    }
  }
  engine.events.emit("network", "prune", "", { reclaimed: "0" });
  call.json(200, { NetworksDeleted: deleted.length > 0 ? deleted : null });
}

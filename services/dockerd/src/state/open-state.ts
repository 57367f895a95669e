import path from "node:path";
import { errorCode } from "@longshore/errors";
import type { Logger } from "@longshore/log";
import { journaledStore, openStore, type Store, scopedStore } from "@longshore/store";
import type { Settings } from "../config/settings.ts";
import { Fleet } from "./fleet.ts";

const WAIT_MS = 30_000;
const RETRY_MS = 200;

/**
 * Open what the daemon keeps its state in: a file of its own, or a part of a store that several engines share. A server that doesn't
 * answer is waited for.
 *
 * @param id the engine's
 * @throws EngineError `unavailable`
 */
export async function openState(
  { storeUrl, dataRoot }: Settings,
  id: string,
  log: Logger,
  signal: AbortSignal,
): Promise<{ store: Store; fleet: Fleet | undefined }> {
  if (storeUrl === undefined) {
    return { store: openStore(`sqlite:${path.join(dataRoot, "engine.db")}`), fleet: undefined };
  }
  const journal = path.join(dataRoot, "store-journal");
  const whole = journaledStore(openStore(storeUrl), journal, (waits) =>
    waits
      ? log.warn("the state store can't be reached: what happens is kept on disk until it is back")
      : log.info("the state store has all that was kept for it"),
  );
  const own = scopedStore(whole, id);
  const store = { ...own, [Symbol.asyncDispose]: () => whole[Symbol.asyncDispose]() };
  try {
    await waitFor(store, log, signal);
    const fleet = new Fleet(whole, id);
    await fleet.join();
    return { store, fleet };
  } catch (error) {
    await store[Symbol.asyncDispose]();
    throw error;
  }
}

async function waitFor(store: Store, log: Logger, signal: AbortSignal): Promise<void> {
  const deadline = Date.now() + WAIT_MS;
  for (let told = false; ; told = true) {
    try {
      await store.check();
      return;
    } catch (error) {
      if (errorCode(error) !== "unavailable" || signal.aborted || Date.now() > deadline) throw error;
      if (!told) log.info("waiting for the state store");
    }
    await Bun.sleep(RETRY_MS);
  }
}

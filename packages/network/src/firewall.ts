import { EngineError } from "@longshore/errors";
import type { Logger } from "@longshore/log";
import { Nftables } from "@longshore/syscalls/nftables";
import { BRIDGES_SET, formatRuleset, GUARDED_LINKS_SET, type Ruleset } from "./ruleset.ts";

/** A chain that the real Docker makes for rules of others, and which it asks before its own. */
const DOCKER_USER = "ip filter DOCKER-USER";

/** By which interface a packet came, and goes. */
const DIRECTIONS: readonly string[] = ["iifname", "oifname"];

/** Parts of libnftables-json(5) that are read here. */
interface Listing {
  readonly nftables: ReadonlyArray<{
    readonly chain?: { readonly policy?: string };
    readonly set?: { readonly elem?: readonly unknown[] };
    readonly rule?: { readonly handle: number; readonly expr?: readonly unknown[] };
  }>;
}

/** Our table in nftables, and the two rules by which a real Docker on the same host lets our traffic pass. */
export class Firewall implements Disposable {
  readonly #nft = new Nftables();
  readonly #table: string;
  readonly #log: Logger;
  #ruleset: Omit<Ruleset, "table"> | undefined;

  constructor(table: string, log: Logger) {
    this.#table = table;
    this.#log = log;
  }

  /** Put the whole table in place, atomically; whatever was in it before is gone. */
  rebuild(ruleset: Omit<Ruleset, "table">): void {
    this.#nft.run(formatRuleset({ ...ruleset, table: this.#table }));
    for (const { bridge } of ruleset.bridges) this.#admit(bridge);
    this.#ruleset = ruleset;
  }

  /** Whether nobody has flushed it since, nor a real Docker has come that does not yet know of us. About 0.2 ms. */
  isInPlace(): boolean {
    if (!this.#ruleset || !this.#list(`list set inet ${this.#table} ${BRIDGES_SET}`)) return false;
    return this.#ruleset.bridges.every(({ bridge }) => {
      const present = this.#admissions(bridge);
      return present === undefined || present.length === DIRECTIONS.length;
    });
  }

  /** The guarded links of this process's last ruleset, at first of the table that is in place. */
  guardedLinks(): readonly string[] {
    if (this.#ruleset) return this.#ruleset.guardedLinks;
    const listing = this.#list(`list set inet ${this.#table} ${GUARDED_LINKS_SET}`);
    const elements = listing?.nftables.flatMap(({ set }) => set?.elem ?? []) ?? [];
    return elements.filter((element) => typeof element === "string");
  }

  /** Take away all that is ours. */
  remove(bridges: readonly string[]): void {
    const rules = bridges.flatMap((bridge) => this.#admissions(bridge) ?? []);
    const commands = rules.map((handle) => `delete rule ${DOCKER_USER} handle ${handle}`);
    // Naming the table first makes it, so that deleting it can't fail.
    commands.push(`table inet ${this.#table}`, `delete table inet ${this.#table}`);
    this.#nft.run(commands.join("\n"));
  }

  [Symbol.dispose](): void {
    this.#nft[Symbol.dispose]();
  }

  /**
   * The real Docker sets the policy of all forwarding to drop, which an accept of ours does not undo. Where it is
   * present, its chain for such cases gets a rule for each direction; what may pass is still for our own table to say.
   */
  #admit(bridge: string): void {
    const present = this.#admissions(bridge);
    if (present === undefined) {
      if (this.#dropsForwarding())
        this.#log.warn(
          { bridge },
          "the host's firewall drops forwarded packets: allow forwarding from and to the bridge",
        );
      return;
    }
    const name = JSON.stringify(bridge);
    this.#nft.run(
      [
        ...present.map((handle) => `delete rule ${DOCKER_USER} handle ${handle}`),
        ...DIRECTIONS.map((key) => `insert rule ${DOCKER_USER} ${key} ${name} counter accept`),
      ].join("\n"),
    );
  }

  /** Handles of our rules in Docker's chain; undefined where there is no such chain. */
  #admissions(bridge: string): number[] | undefined {
    const listing = this.#list(`list chain ${DOCKER_USER}`);
    return listing?.nftables.flatMap(({ rule }) =>
      rule && matchesLink(rule.expr?.[0], bridge) ? [rule.handle] : [],
    );
  }

  #dropsForwarding(): boolean {
    const listing = this.#list("list chain ip filter FORWARD");
    return listing?.nftables.some(({ chain }) => chain?.policy === "drop") ?? false;
  }

  /** Undefined when what is asked for does not exist. */
  #list(command: string): Listing | undefined {
    let output: string;
    try {
      output = this.#nft.run(command);
    } catch (error) {
      if (error instanceof EngineError && error.code === "failed_precondition") return undefined;
      throw error;
    }
    return output === "" ? undefined : (JSON.parse(output) as Listing);
  }
}

/** Whether an expression is `iifname "…"` or `oifname "…"`. */
function matchesLink(expression: unknown, link: string): boolean {
  const { match } = expression as {
    match?: { left?: { meta?: { key?: string } }; right?: unknown };
  };
  const key = match?.left?.meta?.key;
  return DIRECTIONS.includes(key ?? "") && match?.right === link;
}

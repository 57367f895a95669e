import { EngineError, isErrno } from "@longshore/errors";
import type { Logger } from "@longshore/log";
import {
  addRule,
  deleteRule,
  type NetlinkRequest,
  NftablesSocket,
  type NftChange,
  type NftRule,
  type NftTable,
} from "@longshore/netlink";
import type { Relay } from "./relay.ts";
import {
  admission,
  BRIDGES_SET,
  CHAINS,
  type Direction,
  GUARDED_LINKS_SET,
  GUARDED_LINKS6_SET,
  missingPorts,
  type PublishedPort,
  portElements,
  type Ruleset,
  rebuildTable,
  removeTable,
} from "./ruleset.ts";
import { StaleConnections } from "./stale-connections.ts";
import { removeUserChain, userChainRequests, userTable } from "./user-chain.ts";

/** Where iptables-nft, and so the real Docker, keeps what decides on forwarded packets. */
const DOCKER_TABLE: NftTable = { family: "ip", name: "filter" };
const FORWARD = "FORWARD";
/** A chain that the real Docker makes for rules of others, and which it asks before its own. */
const DOCKER_USER = "DOCKER-USER";

const DIRECTIONS: readonly Direction[] = ["iifname", "oifname"];
/** Of changing Docker's chain while others change it, too. */
const ADMIT_ATTEMPTS = 5;

/** Our table in nftables, and the two rules by which a real Docker on the same host lets our traffic pass. */
export class Firewall implements Disposable {
  readonly #nft = new NftablesSocket();
  readonly #table: NftTable;
  readonly #log: Logger;
  readonly #relay: Relay | undefined;
  readonly #stale = new StaleConnections();
  #ruleset: Ruleset | undefined;
  /** Of each of our chains. */
  #ruleCounts: readonly number[] = [];

  /** @param relay is told of the ports that it has to carry on */
  constructor(table: string, relay: Relay | undefined, log: Logger) {
    this.#relay = relay;
    this.#table = { family: "inet", name: table };
    this.#log = log;
  }

  /**
   * Put the whole table in place, atomically; whatever was in it before is gone.
   *
   * @throws EngineError `failed_precondition` with what the kernel refuses
   */
  rebuild(ruleset: Ruleset): void {
    this.#commit([...userChainRequests(this.#nft, this.#table), ...rebuildTable(this.#table, ruleset)]);
    this.#relay?.add(ruleset.ports);
    for (const { bridge } of ruleset.bridges) this.#admit(bridge);
    this.#ruleset = ruleset;
    this.#ruleCounts = this.#countRules();
  }

  /** Whether it is of any interest here what somebody has changed. */
  isConcernedBy({ table, portId }: NftChange): boolean {
    const isOf = ({ family, name }: NftTable) => table.family === family && table.name === name;
    const own = [this.#table, userTable(this.#table), DOCKER_TABLE];
    return portId !== this.#nft.portId && own.some(isOf);
  }

  /** Whether each rule is still there, and these ports. */
  isWhole(ports: readonly PublishedPort[]): boolean {
    return (
      this.#countRules().join() === this.#ruleCounts.join() &&
      missingPorts(this.#nft, this.#table, ports).length === 0 &&
      userChainRequests(this.#nft, this.#table).length === 0
    );
  }

  /** Whether these are the bridges that ours are kept from. */
  keepsFrom(foreignBridges: readonly string[]): boolean {
    return this.#ruleset?.foreignBridges.join() === foreignBridges.join();
  }

  #countRules(): number[] {
    return CHAINS.map((chain) => this.#nft.rules(this.#table, chain)?.length ?? -1);
  }

  /** Whether nobody has flushed it since, nor a real Docker has come that does not yet know of us. About 0.1 ms. */
  isInPlace(): boolean {
    if (!this.#ruleset || !this.#nft.hasSet(this.#table, BRIDGES_SET)) return false;
    return this.#ruleset.bridges.every(({ bridge }) => {
      const present = this.#admissions(bridge);
      return present === undefined || present.length === DIRECTIONS.length;
    });
  }

  /** The guarded links of this process's last ruleset, at first of the table that is in place. */
  guardedLinks(): readonly string[] {
    return this.#ruleset?.guardedLinks ?? this.#nft.setLinks(this.#table, GUARDED_LINKS_SET);
  }

  guardedLinks6(): readonly string[] {
    return this.#ruleset?.guardedLinks6 ?? this.#nft.setLinks(this.#table, GUARDED_LINKS6_SET);
  }

  /** Publish ports, or take them back. */
  changePorts(ports: readonly PublishedPort[], change: "add" | "delete"): void {
    if (ports.length === 0) return;
    if (change === "add") this.#relay?.add(ports);
    else this.#relay?.remove(ports);
    this.#commit(portElements(this.#table, ports, change));
    this.#stale.forget(ports);
  }

  /** Let published ports lead elsewhere, from one moment to the next. */
  movePorts(from: readonly PublishedPort[], to: readonly PublishedPort[]): void {
    this.#relay?.remove(from);
    this.#relay?.add(to);
    this.#commit([...portElements(this.#table, from, "delete"), ...portElements(this.#table, to, "add")]);
    this.#stale.forget([...from, ...to]);
  }

  /** A bridge is gone: Docker's chain needs to know of it no more. */
  withdraw(bridge: string): void {
    this.#replaceAdmissions(bridge, []);
  }

  /** Take away all that is ours. */
  remove(bridges: readonly string[]): void {
    this.#commit([...removeTable(this.#table), ...removeUserChain(this.#table)]);
    for (const bridge of bridges) this.#replaceAdmissions(bridge, []);
  }

  [Symbol.dispose](): void {
    this.#nft[Symbol.dispose]();
    this.#stale[Symbol.dispose]();
  }

  /**
   * The real Docker sets the policy of all forwarding to drop, which an accept of ours does not undo. Where it is
   * present, its chain for such cases gets a rule for each direction; what may pass is still for our own table to say.
   */
  #admit(bridge: string): void {
    const rules = DIRECTIONS.map((key) =>
      addRule(DOCKER_TABLE, DOCKER_USER, admission(key, bridge), { first: true }),
    );
    if (!this.#replaceAdmissions(bridge, rules) && this.#nft.policy(DOCKER_TABLE, FORWARD) === "drop")
      this.#log.warn(
        { bridge },
        "the host's firewall drops forwarded packets: allow forwarding from and to the bridge",
      );
  }

  /** Put these rules in the place of ours in Docker's chain. Returns whether there is such a chain. */
  #replaceAdmissions(bridge: string, rules: readonly NetlinkRequest[]): boolean {
    for (let attempt = 1; ; attempt++) {
      const present = this.#admissions(bridge);
      if (present === undefined) return false;
      const gone = present.map((handle) => deleteRule(DOCKER_TABLE, DOCKER_USER, handle));
      try {
        this.#nft.commit([...gone, ...rules]);
        return true;
      } catch (error) {
        // Others have taken the chain, or a rule, away since it was read; or it isn't what it is taken for.
        if (isErrno(error, "ENOENT") && attempt < ADMIT_ATTEMPTS) continue;
        this.#log.warn({ bridge, err: error }, "rules in the chain DOCKER-USER");
        return true;
      }
    }
  }

  /** Handles of our rules in Docker's chain; undefined where there is no such chain. */
  #admissions(bridge: string): bigint[] | undefined {
    const rules = this.#nft.rules(DOCKER_TABLE, DOCKER_USER);
    return rules?.filter((rule) => isAdmission(rule, bridge)).map(({ handle }) => handle);
  }

  #commit(requests: readonly NetlinkRequest[]): void {
    try {
      this.#nft.commit(requests);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new EngineError("failed_precondition", why, { cause });
    }
  }
}

/** Whether a rule accepts what comes from, or goes to, the bridge, and nothing else, as ours do. */
function isAdmission({ expressions }: NftRule, bridge: string): boolean {
  const [meta, compare, counter, verdict, ...others] = expressions;
  if (meta?.is !== "meta" || meta.key === "nfproto") return false;
  if (compare?.is !== "compare" || !compare.equal || others.length > 0) return false;
  // Who has made it may have written fewer of the zeros that end the name; without any it is the start of names.
  const name = Buffer.from(compare.value);
  const end = name.indexOf(0);
  if (end < 0 || name.toString("utf8", 0, end) !== bridge) return false;
  return counter?.is === "counter" && verdict?.is === "verdict" && verdict.verdict === "accept";
}

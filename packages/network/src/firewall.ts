import { EngineError, isErrno } from "@longshore/errors";
import type { Logger } from "@longshore/log";
import { type NetlinkRequest, NftablesSocket, type NftChange, type NftTable } from "@longshore/netlink";
import { BRIDGES_SET } from "./arrivals.ts";
import { DockerUserChain } from "./docker-user-chain.ts";
import type { Relay } from "./relay.ts";
import {
  CHAINS,
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

/** Our table in nftables, and the two rules by which a real Docker on the same host lets our traffic pass. */
export class Firewall implements Disposable {
  readonly #nft = new NftablesSocket();
  readonly #table: NftTable;
  readonly #log: Logger;
  readonly #relay: Relay | undefined;
  readonly #dockerChains: readonly DockerUserChain[];
  readonly #stale = new StaleConnections();
  #ruleset: Ruleset | undefined;
  #lacksRedirection = false;
  #lacksOwnership = false;
  /** Of each of our chains. */
  #ruleCounts: readonly number[] = [];

  /** @param relay is told of the ports that it has to carry on */
  constructor(table: string, relay: Relay | undefined, log: Logger) {
    this.#relay = relay;
    this.#dockerChains = (["ip", "ip6"] as const).map(
      (family) => new DockerUserChain({ nft: this.#nft, family, log }),
    );
    this.#table = { family: "inet", name: table };
    this.#log = log;
  }

  /**
   * Put the whole table in place, atomically; whatever was in it before is gone.
   *
   * @throws EngineError `failed_precondition` with what the kernel refuses
   */
  rebuild(ruleset: Ruleset): void {
    this.#put(ruleset);
    this.#relay?.add(ruleset.ports);
    for (const chain of this.#dockerChains) chain.admit(bridgesOf(ruleset));
    this.#ruleset = ruleset;
    this.#ruleCounts = this.#countRules();
  }

  #put(ruleset: Ruleset): void {
    const userChain = userChainRequests(this.#nft, this.#table);
    const put = (one: Ruleset) => this.#putTable(userChain, one);
    if (this.#lacksRedirection) {
      put({ ...ruleset, relayPort: undefined });
      return;
    }
    try {
      put(ruleset);
    } catch (error) {
      // All but the relay works on a kernel that can't redirect.
      if (ruleset.relayPort === undefined) throw error;
      try {
        put({ ...ruleset, relayPort: undefined });
      } catch {
        throw error;
      }
      this.#lacksRedirection = true;
      this.#log.warn({ err: error }, "containers without IPv6 are not reached by IPv6");
    }
  }

  #putTable(userChain: readonly NetlinkRequest[], ruleset: Ruleset): void {
    const put = (owned: boolean) =>
      this.#nft.commit([...userChain, ...rebuildTable(this.#table, { ...ruleset, owned })]);
    try {
      put(ruleset.owned && !this.#lacksOwnership);
    } catch (cause) {
      if (!isErrno(cause, "EOPNOTSUPP") || !ruleset.owned || this.#lacksOwnership) throw refusal(cause);
      this.#lacksOwnership = true;
      this.#log.info({ table: this.#table.name }, "on this kernel others can flush the firewall's rules");
      this.#putTable(userChain, ruleset);
    }
  }

  /** Whether it is of any interest here what somebody has changed. */
  isConcernedBy({ table, portId }: NftChange): boolean {
    const isOf = ({ family, name }: NftTable) => table.family === family && table.name === name;
    const own = [this.#table, userTable(this.#table), ...this.#dockerChains.map((chain) => chain.table)];
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
    const bridges = bridgesOf(this.#ruleset);
    return this.#dockerChains.every((chain) => chain.admits(bridges));
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
    try {
      this.#nft.commit(portElements(this.#table, ports, change));
    } catch (error) {
      // Others have taken it away: what is put back then is without these.
      if (change === "add" || !isErrno(error, "ENOENT")) throw refusal(error);
      this.#log.warn({ err: error }, "published ports are gone already");
    }
    this.#forget(ports);
  }

  /** Let published ports lead elsewhere, from one moment to the next. */
  movePorts(from: readonly PublishedPort[], to: readonly PublishedPort[]): void {
    this.#relay?.remove(from);
    this.#relay?.add(to);
    this.#commit([...portElements(this.#table, from, "delete"), ...portElements(this.#table, to, "add")]);
    this.#forget([...from, ...to]);
  }

  /** A bridge is gone: Docker's chain needs to know of it no more. */
  withdraw(bridge: string): void {
    for (const chain of this.#dockerChains) chain.withdraw([bridge]);
  }

  /** Take away all that is ours. */
  remove(bridges: readonly string[]): void {
    this.#commit([...removeTable(this.#table), ...removeUserChain(this.#table)]);
    for (const chain of this.#dockerChains) chain.withdraw(bridges);
  }

  [Symbol.dispose](): void {
    this.#nft[Symbol.dispose]();
    this.#stale[Symbol.dispose]();
  }

  /** Without it clients that go on sending are a little longer without an answer. */
  #forget(ports: readonly PublishedPort[]): void {
    try {
      this.#stale.forget(ports);
    } catch (error) {
      this.#log.warn({ err: error }, "connections by UDP of before are not forgotten");
    }
  }

  #commit(requests: readonly NetlinkRequest[]): void {
    try {
      this.#nft.commit(requests);
    } catch (cause) {
      throw refusal(cause);
    }
  }
}

function refusal(cause: unknown): EngineError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new EngineError("failed_precondition", why, { cause });
}

function bridgesOf({ bridges, furtherBridges }: Ruleset): string[] {
  return [...bridges.map(({ bridge }) => bridge), ...furtherBridges];
}

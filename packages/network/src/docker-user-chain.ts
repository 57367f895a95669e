import { isErrno } from "@longshore/errors";
import type { Logger } from "@longshore/log";
import {
  addRule,
  deleteRule,
  type NetlinkRequest,
  type NftablesSocket,
  type NftRule,
  type NftTable,
} from "@longshore/netlink";
import { admission } from "./ruleset.ts";
import type { Direction } from "./statements.ts";

const FORWARD = "FORWARD";
/** A chain that the real Docker makes for rules of others, and which it asks before its own. */
const DOCKER_USER = "DOCKER-USER";

const DIRECTIONS: readonly Direction[] = ["iifname", "oifname"];
/** Of changing Docker's chain while others change it, too. */
const ADMIT_ATTEMPTS = 5;

/** Our two rules for each bridge, by which a real Docker on the same host lets our traffic of one address family pass. */
export class DockerUserChain {
  /** Where iptables-nft, and so the real Docker, keeps what decides on forwarded packets. */
  readonly table: NftTable;
  readonly #nft: NftablesSocket;
  readonly #log: Logger;

  constructor({ nft, family, log }: { nft: NftablesSocket; family: "ip" | "ip6"; log: Logger }) {
    this.table = { family, name: "filter" };
    this.#nft = nft;
    this.#log = log;
  }

  /**
   * The real Docker sets the policy of all forwarding to drop, which an accept of ours does not undo. Where it is
   * present, its chain for such cases gets a rule for each direction; what may pass is still for our own table to say.
   */
  admit(bridges: readonly string[]): void {
    const rules = bridges.flatMap((bridge) =>
      DIRECTIONS.map((key) => addRule(this.table, DOCKER_USER, admission(key, bridge), { first: true })),
    );
    if (!this.#replaceAdmissions(bridges, rules) && this.#nft.policy(this.table, FORWARD) === "drop")
      this.#log.warn(
        { bridges },
        "the host's firewall drops forwarded packets: allow forwarding from and to the bridges",
      );
  }

  /** Put these rules in the place of those for the bridges in Docker's chain. Returns whether there is such a chain. */
  #replaceAdmissions(bridges: readonly string[], rules: readonly NetlinkRequest[]): boolean {
    for (let attempt = 1; ; attempt++) {
      const present = this.#admissions();
      if (present === undefined) return false;
      const gone = present
        .filter(({ bridge }) => bridges.includes(bridge))
        .map(({ handle }) => deleteRule(this.table, DOCKER_USER, handle));
      try {
        this.#nft.commit([...gone, ...rules]);
        return true;
      } catch (error) {
        // Others have taken the chain, or a rule, away since it was read; or it isn't what it is taken for.
        if (isErrno(error, "ENOENT") && attempt < ADMIT_ATTEMPTS) continue;
        this.#log.warn({ bridges, err: error }, "rules in the chain DOCKER-USER");
        return true;
      }
    }
  }

  /** The rules in Docker's chain that are as ours are; undefined where there is no such chain. */
  #admissions(): { bridge: string; handle: bigint }[] | undefined {
    return this.#nft.rules(this.table, DOCKER_USER)?.flatMap((rule) => {
      const bridge = admitted(rule);
      return bridge === undefined ? [] : [{ bridge, handle: rule.handle }];
    });
  }

  /** Whether there is no such chain, or ours are in it. */
  admits(bridges: readonly string[]): boolean {
    const present = this.#admissions();
    const count = (wanted: string) => present?.filter(({ bridge }) => bridge === wanted).length;
    return !present || bridges.every((bridge) => count(bridge) === DIRECTIONS.length);
  }

  withdraw(bridges: readonly string[]): void {
    this.#replaceAdmissions(bridges, []);
  }
}

/** The interface of a rule that accepts what comes from, or goes to, that and nothing else, as ours do. */
function admitted({ expressions }: NftRule): string | undefined {
  const [meta, compare, counter, verdict, ...others] = expressions;
  if (meta?.is !== "meta" || meta.key === "nfproto") return undefined;
  if (compare?.is !== "compare" || !compare.equal || others.length > 0) return undefined;
  // Who has made it may have written fewer of the zeros that end the name; without any it is the start of names.
  const name = Buffer.from(compare.value);
  const end = name.indexOf(0);
  const accepts = counter?.is === "counter" && verdict?.is === "verdict" && verdict.verdict === "accept";
  return end < 0 || !accepts ? undefined : name.toString("utf8", 0, end);
}

import { attributeNumberBe, type NetlinkWriter, parseAttributes } from "./attributes.ts";
import { type NetlinkRequest, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP } from "./message.ts";
import {
  type ForeignExpression,
  type NftExpression,
  parseExpressions,
  writeExpressions,
} from "./nftables-expression.ts";

const NFNL_SUBSYS_NFTABLES = 10;
export const NFGENMSG_BYTES = 4;
const NFNETLINK_V0 = 0;
const NFT_MSG_NEWTABLE = 0;
const NFT_MSG_DELTABLE = 2;
const NFT_MSG_NEWCHAIN = 3;
const NFT_MSG_GETCHAIN = 4;
const NFT_MSG_NEWRULE = 6;
const NFT_MSG_GETRULE = 7;
const NFT_MSG_DELRULE = 8;

// The table's name is the first attribute of all messages, the chain's the second of a rule's.
const NFTA_TABLE = 1;
const NFTA_TABLE_FLAGS = 2;
const NFT_TABLE_F_OWNER = 2;
const NFT_TABLE_F_PERSIST = 4;
const NFTA_CHAIN_NAME = 3;
const NFTA_CHAIN_HOOK = 4;
const NFTA_CHAIN_POLICY = 5;
const NFTA_CHAIN_TYPE = 7;
const NFTA_HOOK_NUMBER = 1;
const NFTA_HOOK_PRIORITY = 2;
const NFTA_RULE_CHAIN = 2;
const NFTA_RULE_HANDLE = 3;
const NFTA_RULE_EXPRESSIONS = 4;

const FAMILIES = { inet: 1, ip: 2, ip6: 10 };
const HOOKS = { prerouting: 0, input: 1, forward: 2, output: 3, postrouting: 4 };
const POLICIES = { drop: 0, accept: 1 };

/** Undefined for families that are not ours to know. */
export function familyName(number: number): NftTable["family"] | undefined {
  for (const name in FAMILIES)
    if (FAMILIES[name as NftTable["family"]] === number) return name as NftTable["family"];
  return undefined;
}

export interface NftTable {
  readonly family: keyof typeof FAMILIES;
  readonly name: string;
}

/** A chain that packets come through. */
export interface NftBaseChain {
  readonly name: string;
  readonly type: "filter" | "nat";
  readonly hook: keyof typeof HOOKS;
  /** Among the chains of its hook: −300 is `raw`, −100 `dstnat`, 0 `filter`, 100 `srcnat`. */
  readonly priority: number;
  readonly policy: keyof typeof POLICIES;
}

/** A rule that is there, whoever made it. */
export interface NftRule {
  /** Names it within its table. */
  readonly handle: bigint;
  readonly expressions: readonly ForeignExpression[];
}

type Body = (writer: NetlinkWriter) => void;

/** A request of nf_tables: the table first, then what `body` writes. */
export function nftRequest(
  message: number,
  what: string,
  flags: number,
  table: NftTable,
  body: Body = () => {},
): NetlinkRequest {
  return {
    what,
    type: (NFNL_SUBSYS_NFTABLES << 8) | message,
    flags,
    body(writer) {
      writer.u8(FAMILIES[table.family]).u8(NFNETLINK_V0).u16(0).attributeString(NFTA_TABLE, table.name);
      body(writer);
    },
  };
}

export const CREATE = NLM_F_ACK | NLM_F_CREATE;
export const shown = ({ family, name }: NftTable): string => `${family} ${name}`;

/** Make a table, if there is none of this name. */
export function addTable(table: NftTable): NetlinkRequest {
  return nftRequest(NFT_MSG_NEWTABLE, `add table ${shown(table)}`, CREATE, table);
}

/**
 * Make a table that only this socket can change, flush or delete until it is closed; then the table stays, and is anyone's.
 * Kernels before 6.9 refuse it with EOPNOTSUPP.
 */
export function addOwnedTable(table: NftTable): NetlinkRequest {
  return nftRequest(NFT_MSG_NEWTABLE, `add own table ${shown(table)}`, CREATE, table, (writer) =>
    writer.attributeU32Be(NFTA_TABLE_FLAGS, NFT_TABLE_F_OWNER | NFT_TABLE_F_PERSIST),
  );
}

/** Delete a table with all that is in it. */
export function deleteTable(table: NftTable): NetlinkRequest {
  return nftRequest(NFT_MSG_DELTABLE, `delete table ${shown(table)}`, NLM_F_ACK, table);
}

export function addBaseChain(table: NftTable, chain: NftBaseChain): NetlinkRequest {
  return nftRequest(NFT_MSG_NEWCHAIN, `add chain ${shown(table)} ${chain.name}`, CREATE, table, (writer) =>
    writer
      .attributeString(NFTA_CHAIN_NAME, chain.name)
      .nest(NFTA_CHAIN_HOOK, (hook) =>
        hook
          .attributeU32Be(NFTA_HOOK_NUMBER, HOOKS[chain.hook])
          .attributeU32Be(NFTA_HOOK_PRIORITY, chain.priority),
      )
      .attributeU32Be(NFTA_CHAIN_POLICY, POLICIES[chain.policy])
      .attributeString(NFTA_CHAIN_TYPE, chain.type),
  );
}

/** Add a chain that packets come through by a `jump` only, if there is none of this name. */
export function addChain(table: NftTable, chain: string): NetlinkRequest {
  return nftRequest(NFT_MSG_NEWCHAIN, `add chain ${shown(table)} ${chain}`, CREATE, table, (writer) =>
    writer.attributeString(NFTA_CHAIN_NAME, chain),
  );
}

/** Delete all rules of a chain. */
export function flushChain(table: NftTable, chain: string): NetlinkRequest {
  return nftRequest(NFT_MSG_DELRULE, `flush chain ${shown(table)} ${chain}`, NLM_F_ACK, table, (writer) =>
    writer.attributeString(NFTA_RULE_CHAIN, chain),
  );
}

/** Add a rule at the end of a chain, or at its start. */
export function addRule(
  table: NftTable,
  chain: string,
  expressions: readonly NftExpression[],
  { first = false }: { first?: boolean } = {},
): NetlinkRequest {
  const flags = first ? CREATE : CREATE | NLM_F_APPEND;
  return nftRequest(NFT_MSG_NEWRULE, `add rule ${shown(table)} ${chain}`, flags, table, (writer) =>
    writer
      .attributeString(NFTA_RULE_CHAIN, chain)
      .nest(NFTA_RULE_EXPRESSIONS, (list) => writeExpressions(list, expressions)),
  );
}

export function deleteRule(table: NftTable, chain: string, handle: bigint): NetlinkRequest {
  const what = `delete rule ${shown(table)} ${chain} handle ${handle}`;
  return nftRequest(NFT_MSG_DELRULE, what, NLM_F_ACK, table, (writer) =>
    writer.attributeString(NFTA_RULE_CHAIN, chain).attributeU64Be(NFTA_RULE_HANDLE, handle),
  );
}

export function getChain(table: NftTable, chain: string): NetlinkRequest {
  return nftRequest(NFT_MSG_GETCHAIN, `get chain ${shown(table)} ${chain}`, NLM_F_ACK, table, (writer) =>
    writer.attributeString(NFTA_CHAIN_NAME, chain),
  );
}

/** The policy in the body of an answer to `getChain`; undefined for a chain that packets don't come through by themselves. */
export function parsePolicy(body: Uint8Array): "accept" | "drop" | undefined {
  const policy = attributeNumberBe(parseAttributes(body.subarray(NFGENMSG_BYTES)).get(NFTA_CHAIN_POLICY));
  if (policy === undefined) return undefined;
  return policy === POLICIES.drop ? "drop" : "accept";
}

/** The rules of one chain. */
export function listRules(table: NftTable, chain: string): NetlinkRequest {
  return nftRequest(NFT_MSG_GETRULE, `list rules ${shown(table)} ${chain}`, NLM_F_DUMP, table, (writer) =>
    writer.attributeString(NFTA_RULE_CHAIN, chain),
  );
}

/** The body of an answer to `listRules`, copied out of it. */
export function parseRule(body: Uint8Array): NftRule {
  const attributes = parseAttributes(body.subarray(NFGENMSG_BYTES));
  const handle = attributes.get(NFTA_RULE_HANDLE) ?? new Uint8Array(8);
  return {
    handle: Buffer.from(handle.buffer, handle.byteOffset, 8).readBigUInt64BE(),
    expressions: parseExpressions(attributes.get(NFTA_RULE_EXPRESSIONS) ?? new Uint8Array()),
  };
}

import {
  attributeNumberBe,
  attributeText,
  type NetlinkWriter,
  parseAttributes,
  parseList,
} from "./attributes.ts";
import { type NetlinkRequest, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP } from "./message.ts";
import {
  type ForeignExpression,
  type NftExpression,
  parseExpressions,
  writeExpressions,
} from "./nftables-expression.ts";

const NFNL_SUBSYS_NFTABLES = 10;
const NFNETLINK_V0 = 0;
const NFGENMSG_BYTES = 4;
const NFT_MSG_NEWTABLE = 0;
const NFT_MSG_DELTABLE = 2;
const NFT_MSG_NEWCHAIN = 3;
const NFT_MSG_GETCHAIN = 4;
const NFT_MSG_NEWRULE = 6;
const NFT_MSG_GETRULE = 7;
const NFT_MSG_DELRULE = 8;
const NFT_MSG_NEWSET = 9;
const NFT_MSG_GETSET = 10;
const NFT_MSG_NEWSETELEM = 12;
const NFT_MSG_GETSETELEM = 13;

// The table's name is the first attribute of all messages, the chain's the second of a rule's.
const NFTA_TABLE = 1;
const NFTA_CHAIN_NAME = 3;
const NFTA_CHAIN_HOOK = 4;
const NFTA_CHAIN_POLICY = 5;
const NFTA_CHAIN_TYPE = 7;
const NFTA_HOOK_NUMBER = 1;
const NFTA_HOOK_PRIORITY = 2;
const NFTA_RULE_CHAIN = 2;
const NFTA_RULE_HANDLE = 3;
const NFTA_RULE_EXPRESSIONS = 4;
const NFTA_SET_NAME = 2;
const NFTA_SET_FLAGS = 3;
const NFTA_SET_KEY_TYPE = 4;
const NFTA_SET_KEY_LEN = 5;
const NFTA_SET_ID = 10;
const NFTA_SET_USERDATA = 13;
const NFTA_SET_ELEM_LIST_SET = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS = 3;
const NFTA_LIST_ELEM = 1;
const NFTA_SET_ELEM_KEY = 1;
const NFTA_DATA_VALUE = 1;

const FAMILIES = { inet: 1, ip: 2 };
const HOOKS = { forward: 2, postrouting: 4 };
const POLICIES = { drop: 0, accept: 1 };
/** The number by which nft knows keys that are names of interfaces; the kernel only keeps it. */
const TYPE_IFNAME = 41;
/** For nft, which shows the set: a property (0, four bytes) by which its keys are in the host's order, as names are kept. */
const HOST_ORDER_KEYS = Uint8Array.of(0, 4, 1, 0, 0, 0);
/** IFNAMSIZ: a name with zeros after it. */
const IFNAME_BYTES = 16;

export interface NftTable {
  readonly family: keyof typeof FAMILIES;
  readonly name: string;
}

/** A chain that packets come through. */
export interface NftBaseChain {
  readonly name: string;
  readonly type: "filter" | "nat";
  readonly hook: keyof typeof HOOKS;
  /** Among the chains of its hook: 0 is `filter`, 100 `srcnat`. */
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

function request(
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

const CREATE = NLM_F_ACK | NLM_F_CREATE;
const shown = ({ family, name }: NftTable): string => `${family} ${name}`;

/** Make a table, if there is none of this name. */
export function addTable(table: NftTable): NetlinkRequest {
  return request(NFT_MSG_NEWTABLE, `add table ${shown(table)}`, CREATE, table);
}

/** Delete a table with all that is in it. */
export function deleteTable(table: NftTable): NetlinkRequest {
  return request(NFT_MSG_DELTABLE, `delete table ${shown(table)}`, NLM_F_ACK, table);
}

export function addBaseChain(table: NftTable, chain: NftBaseChain): NetlinkRequest {
  return request(NFT_MSG_NEWCHAIN, `add chain ${shown(table)} ${chain.name}`, CREATE, table, (writer) =>
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

/**
 * Add a set of names of interfaces.
 *
 * @param id that no other set of the transaction has
 */
export function addLinkSet(table: NftTable, name: string, id: number): NetlinkRequest {
  return request(NFT_MSG_NEWSET, `add set ${shown(table)} ${name}`, CREATE, table, (writer) =>
    writer
      .attributeString(NFTA_SET_NAME, name)
      .attributeU32Be(NFTA_SET_FLAGS, 0)
      .attributeU32Be(NFTA_SET_KEY_TYPE, TYPE_IFNAME)
      .attributeU32Be(NFTA_SET_KEY_LEN, IFNAME_BYTES)
      .attributeU32Be(NFTA_SET_ID, id)
      .attributeBytes(NFTA_SET_USERDATA, HOST_ORDER_KEYS),
  );
}

/** Add names of interfaces, one at least, to a set of such. */
export function addSetLinks(table: NftTable, set: string, links: readonly string[]): NetlinkRequest {
  const element = (name: string): Body => {
    const key: Body = (writer) => writer.attributeBytes(NFTA_DATA_VALUE, linkKey(name));
    return (writer) => writer.nest(NFTA_SET_ELEM_KEY, key);
  };
  return request(NFT_MSG_NEWSETELEM, `add to set ${shown(table)} ${set}`, CREATE, table, (writer) =>
    writer.attributeString(NFTA_SET_ELEM_LIST_SET, set).nest(NFTA_SET_ELEM_LIST_ELEMENTS, (list) => {
      for (const name of links) list.nest(NFTA_LIST_ELEM, element(name));
    }),
  );
}

/** An interface's name as a register holds it. */
export function linkKey(name: string): Uint8Array {
  const key = Buffer.alloc(IFNAME_BYTES);
  key.write(name, 0, IFNAME_BYTES - 1);
  return key;
}

/** Add a rule at the end of a chain, or at its start. */
export function addRule(
  table: NftTable,
  chain: string,
  expressions: readonly NftExpression[],
  { first = false }: { first?: boolean } = {},
): NetlinkRequest {
  const flags = first ? CREATE : CREATE | NLM_F_APPEND;
  return request(NFT_MSG_NEWRULE, `add rule ${shown(table)} ${chain}`, flags, table, (writer) =>
    writer
      .attributeString(NFTA_RULE_CHAIN, chain)
      .nest(NFTA_RULE_EXPRESSIONS, (list) => writeExpressions(list, expressions)),
  );
}

export function deleteRule(table: NftTable, chain: string, handle: bigint): NetlinkRequest {
  const what = `delete rule ${shown(table)} ${chain} handle ${handle}`;
  return request(NFT_MSG_DELRULE, what, NLM_F_ACK, table, (writer) =>
    writer.attributeString(NFTA_RULE_CHAIN, chain).attributeU64Be(NFTA_RULE_HANDLE, handle),
  );
}

export function getChain(table: NftTable, chain: string): NetlinkRequest {
  return request(NFT_MSG_GETCHAIN, `get chain ${shown(table)} ${chain}`, NLM_F_ACK, table, (writer) =>
    writer.attributeString(NFTA_CHAIN_NAME, chain),
  );
}

/** The policy in the body of an answer to `getChain`; undefined for a chain that packets don't come through by themselves. */
export function parsePolicy(body: Uint8Array): "accept" | "drop" | undefined {
  const policy = attributeNumberBe(parseAttributes(body.subarray(NFGENMSG_BYTES)).get(NFTA_CHAIN_POLICY));
  if (policy === undefined) return undefined;
  return policy === POLICIES.drop ? "drop" : "accept";
}

export function getSet(table: NftTable, set: string): NetlinkRequest {
  return request(NFT_MSG_GETSET, `get set ${shown(table)} ${set}`, NLM_F_ACK, table, (writer) =>
    writer.attributeString(NFTA_SET_NAME, set),
  );
}

/** The rules of one chain. */
export function listRules(table: NftTable, chain: string): NetlinkRequest {
  return request(NFT_MSG_GETRULE, `list rules ${shown(table)} ${chain}`, NLM_F_DUMP, table, (writer) =>
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

/** The elements of one set. */
export function listSet(table: NftTable, set: string): NetlinkRequest {
  return request(NFT_MSG_GETSETELEM, `list set ${shown(table)} ${set}`, NLM_F_DUMP, table, (writer) =>
    writer.attributeString(NFTA_SET_ELEM_LIST_SET, set),
  );
}

/** The names of interfaces in the body of an answer to `listSet`. */
export function parseSetLinks(body: Uint8Array): string[] {
  const list = parseAttributes(body.subarray(NFGENMSG_BYTES)).get(NFTA_SET_ELEM_LIST_ELEMENTS);
  return parseList(list ?? new Uint8Array()).flatMap((element) => {
    const key = parseAttributes(element).get(NFTA_SET_ELEM_KEY) ?? new Uint8Array();
    return attributeText(parseAttributes(key).get(NFTA_DATA_VALUE)) ?? [];
  });
}

import {
  attributeNumberBe,
  attributeText,
  type NetlinkWriter,
  parseAttributes,
  parseList,
} from "./attributes.ts";

// linux/netfilter/nf_tables.h. Numbers in attributes of nf_tables are big-endian; what a register holds is in the order of its key.
const NFTA_LIST_ELEM = 1;
const NFTA_EXPR_NAME = 1;
const NFTA_EXPR_DATA = 2;
const NFTA_DATA_VALUE = 1;
const NFTA_DATA_VERDICT = 2;
const NFTA_VERDICT_CODE = 1;
const NFTA_VERDICT_CHAIN = 2;
const LOOKUP_INVERTED = 1;
/** Register 0 takes the verdict. The others are 64 bytes in all: words of four, the first of which is also the start of register 1. */
const NFT_REG_VERDICT = 0;
const NFT_REG_1 = 1;
const NFT_REG32_00 = 8;

const META_KEYS = { mark: 3, iifname: 6, oifname: 7, nfproto: 15, l4proto: 16 };
/** Those of which rules of others are told. */
const FOREIGN_META_KEYS = {
  iifname: META_KEYS.iifname,
  oifname: META_KEYS.oifname,
  nfproto: META_KEYS.nfproto,
};
const CT_KEYS = { ctState: 0, ctStatus: 2 };
const HEADERS = { network: 1, transport: 2 };
const FIB_RESULT_LINK_NAME = 2;
const FIB_RESULT_ADDRTYPE = 3;
const FIB_ADDRESSES = { source: 1, destination: 2 };
const NAT_DNAT = 1;
const NAT_FAMILIES = { ip: 2, ip6: 10 };
const VERDICTS = { drop: 0, accept: 1, return: -5 };
const VERDICT_JUMP = -3;

/** Where a step puts a value: a word of four bytes, 0 (as when nothing is said) to 15; what is longer goes on in the next. */
type Into = { readonly into?: number };
/** Where the value that a step works on starts. */
type From = { readonly from?: number };

/** One step of a rule. Steps that load put a value into words of the registers, the others work on what is in them. */
export type NftExpression =
  | ({ readonly is: "meta"; readonly key: keyof typeof META_KEYS } & Into)
  /** Flags of a packet's connection, see `CT_ESTABLISHED` and `CT_STATUS_DNAT`. */
  | ({ readonly is: "ctState" | "ctStatus" } & Into)
  /** Bytes of the network header, or of the one after it. */
  | ({
      readonly is: "payload";
      readonly header?: keyof typeof HEADERS;
      readonly offset: number;
      readonly length: number;
    } & Into)
  /** What kind of address one of the packet's is to this host, see `ADDRESS_LOCAL`. */
  | ({ readonly is: "addressType"; readonly of: keyof typeof FIB_ADDRESSES } & Into)
  /** The name of the interface by which one of the packet's addresses is reached; empty for the host's own and for none. */
  | ({ readonly is: "routeLink"; readonly of: keyof typeof FIB_ADDRESSES } & Into)
  | ({ readonly is: "load"; readonly value: Uint8Array } & Into)
  | ({ readonly is: "mask"; readonly mask: Uint8Array } & From)
  | ({ readonly is: "compare"; readonly equal: boolean; readonly value: Uint8Array } & From)
  /** Goes on when the set of the rule's table holds the value, or doesn't. */
  | ({ readonly is: "lookup"; readonly set: string; readonly absent?: boolean } & From)
  /** Goes on when the map of the rule's table has the key, with what it maps to. */
  | ({ readonly is: "map"; readonly map: string } & From & Into)
  | { readonly is: "counter" }
  | { readonly is: "masquerade" }
  /** Connections of these packets aren't followed, nor translated; before conntrack sees them, so in a chain of prerouting or output at -300. */
  | { readonly is: "untracked" }
  /** Sends the connection to the address, and the port, that the words hold. Ends the rule. */
  | {
      readonly is: "dnat";
      readonly family: keyof typeof NAT_FAMILIES;
      readonly address: number;
      readonly port?: number;
    }
  /** Sends the connection to this host itself, at the port that the word holds. Ends the rule. */
  | { readonly is: "redirect"; readonly port: number }
  | { readonly is: "verdict"; readonly verdict: keyof typeof VERDICTS }
  /** Goes on in a chain of the same table, and comes back from its end. */
  | { readonly is: "jump"; readonly chain: string };

/** Flags that `ctState` loads, as bytes of the host's order. */
export const CT_ESTABLISHED = 0x2;
export const CT_RELATED = 0x4;
/** Flag that `ctStatus` loads, of the host's order: the connection's destination has been translated. */
export const CT_STATUS_DNAT = 0x20;
/** What `addressType` loads for an address of the host itself, of the host's order. */
export const ADDRESS_LOCAL = 2;

type Data = (writer: NetlinkWriter) => void;

/** The first word is told as the register that it starts: that is how everybody writes rules. */
const register = (word = 0): number => (word === 0 ? NFT_REG_1 : NFT_REG32_00 + word);

/** The kernel's name of an expression, and what it is told. */
function encode(expression: NftExpression): [name: string, data: Data] {
  switch (expression.is) {
    case "meta":
      return ["meta", numbers({ 1: register(expression.into), 2: META_KEYS[expression.key] })];
    case "ctState":
    case "ctStatus":
      return ["ct", numbers({ 1: register(expression.into), 2: CT_KEYS[expression.is] })];
    case "payload": {
      const { into, header = "network", offset, length } = expression;
      return ["payload", numbers({ 1: register(into), 2: HEADERS[header], 3: offset, 4: length })];
    }
    case "addressType": {
      const { into, of } = expression;
      return ["fib", numbers({ 1: register(into), 2: FIB_RESULT_ADDRTYPE, 3: FIB_ADDRESSES[of] })];
    }
    case "routeLink": {
      const { into, of } = expression;
      return ["fib", numbers({ 1: register(into), 2: FIB_RESULT_LINK_NAME, 3: FIB_ADDRESSES[of] })];
    }
    case "load":
      return [
        "immediate",
        (w) => w.attributeU32Be(1, register(expression.into)).nest(2, value(expression.value)),
      ];
    case "mask": {
      const { from, mask } = expression;
      const described = numbers({ 1: register(from), 2: register(from), 3: mask.byteLength });
      return [
        "bitwise",
        (w) => {
          described(w);
          w.nest(4, value(mask)).nest(5, value(new Uint8Array(mask.byteLength)));
        },
      ];
    }
    case "compare": {
      const { from, equal } = expression;
      const described = numbers({ 1: register(from), 2: equal ? 0 : 1 });
      return [
        "cmp",
        (w) => {
          described(w);
          w.nest(3, value(expression.value));
        },
      ];
    }
    case "lookup": {
      const { set, from, absent = false } = expression;
      const described = numbers({ 2: register(from), ...(absent && { 5: LOOKUP_INVERTED }) });
      return ["lookup", (w) => described(w.attributeString(1, set))];
    }
    case "map": {
      const described = numbers({ 2: register(expression.from), 3: register(expression.into) });
      return ["lookup", (w) => described(w.attributeString(1, expression.map))];
    }
    case "counter":
      return ["counter", () => {}];
    case "masquerade":
      return ["masq", () => {}];
    case "untracked":
      return ["notrack", () => {}];
    case "dnat": {
      const { family, address, port } = expression;
      const to = { 3: register(address), ...(port !== undefined && { 5: register(port) }) };
      return ["nat", numbers({ 1: NAT_DNAT, 2: NAT_FAMILIES[family], ...to })];
    }
    case "redirect":
      return ["redir", numbers({ 1: register(expression.port) })];
    case "verdict":
      return ["immediate", verdict((w) => w.attributeU32Be(NFTA_VERDICT_CODE, VERDICTS[expression.verdict]))];
    case "jump":
      return [
        "immediate",
        verdict((w) =>
          w
            .attributeU32Be(NFTA_VERDICT_CODE, VERDICT_JUMP)
            .attributeString(NFTA_VERDICT_CHAIN, expression.chain),
        ),
      ];
  }
}

/** Attributes with their numbers. */
const numbers =
  (attributes: Readonly<Record<number, number>>): Data =>
  (writer) => {
    for (const type in attributes) writer.attributeU32Be(Number(type), attributes[type] ?? 0);
  };

const verdict =
  (data: Data): Data =>
  (writer) =>
    writer.attributeU32Be(1, NFT_REG_VERDICT).nest(2, (w) => w.nest(NFTA_DATA_VERDICT, data));

const value =
  (bytes: Uint8Array): Data =>
  (writer) =>
    writer.attributeBytes(NFTA_DATA_VALUE, bytes);

/** Write the expressions of a rule, as elements of the list that is being written. */
export function writeExpressions(writer: NetlinkWriter, expressions: readonly NftExpression[]): void {
  for (const expression of expressions) {
    const [name, data] = encode(expression);
    writer.nest(NFTA_LIST_ELEM, (element) =>
      element.attributeString(NFTA_EXPR_NAME, name).nest(NFTA_EXPR_DATA, data),
    );
  }
}

/** What is understood of a rule that others may have written. */
export type ForeignExpression =
  | { readonly is: "meta"; readonly key: keyof typeof FOREIGN_META_KEYS }
  | Extract<NftExpression, { is: "compare" | "counter" | "verdict" }>
  | { readonly is: "other"; readonly name: string };

/** The expressions of a list as the kernel tells them, copied out of it. */
export function parseExpressions(list: Uint8Array): ForeignExpression[] {
  return parseList(list).map((element) => {
    const attributes = parseAttributes(element);
    const name = attributeText(attributes.get(NFTA_EXPR_NAME)) ?? "";
    const data = parseAttributes(attributes.get(NFTA_EXPR_DATA) ?? new Uint8Array());
    return parseExpression(name, data) ?? { is: "other", name };
  });
}

function parseExpression(name: string, data: Map<number, Uint8Array>): ForeignExpression | undefined {
  if (name === "counter") return { is: "counter" };
  if (name === "meta") {
    const key = keyOf(FOREIGN_META_KEYS, attributeNumberBe(data.get(2)));
    return key && { is: "meta", key };
  }
  if (name === "cmp") {
    const operator = attributeNumberBe(data.get(2)) ?? -1;
    const bytes = parseAttributes(data.get(3) ?? new Uint8Array()).get(NFTA_DATA_VALUE);
    if (bytes === undefined || operator < 0 || operator > 1) return undefined;
    return { is: "compare", equal: operator === 0, value: Uint8Array.from(bytes) };
  }
  if (name === "immediate") {
    const given = parseAttributes(data.get(2) ?? new Uint8Array()).get(NFTA_DATA_VERDICT);
    const code = given && attributeNumberBe(parseAttributes(given).get(NFTA_VERDICT_CODE));
    const verdict = keyOf(VERDICTS, code === undefined ? undefined : code | 0);
    return verdict && { is: "verdict", verdict };
  }
  return undefined;
}

function keyOf<K extends string>(names: Record<K, number>, number: number | undefined): K | undefined {
  for (const name in names) if (names[name] === number) return name;
  return undefined;
}

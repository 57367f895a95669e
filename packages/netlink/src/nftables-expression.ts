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
/** Register 0 takes the verdict; the first of the 16-byte registers is the one that all expressions here work on. */
const NFT_REG_VERDICT = 0;
const NFT_REG_1 = 1;

const META_KEYS = { iifname: 6, oifname: 7, nfproto: 15 };
const CT_STATE = 0;
const NETWORK_HEADER = 1;
const VERDICTS = { drop: 0, accept: 1 };

/** One step of a rule. Steps that load put a value into the register, the others work on what is in it. */
export type NftExpression =
  | { readonly is: "meta"; readonly key: keyof typeof META_KEYS }
  /** Flags of a packet's connection, see `CT_ESTABLISHED`. */
  | { readonly is: "ctState" }
  /** Bytes of the network header. */
  | { readonly is: "payload"; readonly offset: number; readonly length: number }
  | { readonly is: "mask"; readonly mask: Uint8Array }
  | { readonly is: "compare"; readonly equal: boolean; readonly value: Uint8Array }
  /** Goes on when the set of the rule's table holds the value. */
  | { readonly is: "lookup"; readonly set: string }
  | { readonly is: "counter" }
  | { readonly is: "masquerade" }
  | { readonly is: "verdict"; readonly verdict: keyof typeof VERDICTS };

/** Flags that `ctState` loads, as bytes of the host's order. */
export const CT_ESTABLISHED = 0x2;
export const CT_RELATED = 0x4;

type Data = (writer: NetlinkWriter) => void;

/** The kernel's name of an expression, and what it is told. */
function encode(expression: NftExpression): [name: string, data: Data] {
  switch (expression.is) {
    case "meta":
      return ["meta", (w) => w.attributeU32Be(1, NFT_REG_1).attributeU32Be(2, META_KEYS[expression.key])];
    case "ctState":
      return ["ct", (w) => w.attributeU32Be(1, NFT_REG_1).attributeU32Be(2, CT_STATE)];
    case "payload": {
      const { offset, length } = expression;
      const where = (w: NetlinkWriter) => w.attributeU32Be(2, NETWORK_HEADER).attributeU32Be(3, offset);
      return ["payload", (w) => where(w.attributeU32Be(1, NFT_REG_1)).attributeU32Be(4, length)];
    }
    case "mask": {
      const { mask } = expression;
      const registers: Data = (w) => w.attributeU32Be(1, NFT_REG_1).attributeU32Be(2, NFT_REG_1);
      return [
        "bitwise",
        (w) => {
          registers(w);
          w.attributeU32Be(3, mask.byteLength);
          w.nest(4, value(mask)).nest(5, value(new Uint8Array(mask.byteLength)));
        },
      ];
    }
    case "compare": {
      const operator = expression.equal ? 0 : 1;
      return [
        "cmp",
        (w) => w.attributeU32Be(1, NFT_REG_1).attributeU32Be(2, operator).nest(3, value(expression.value)),
      ];
    }
    case "lookup":
      return ["lookup", (w) => w.attributeString(1, expression.set).attributeU32Be(2, NFT_REG_1)];
    case "counter":
      return ["counter", () => {}];
    case "masquerade":
      return ["masq", () => {}];
    case "verdict": {
      const code = VERDICTS[expression.verdict];
      const verdict: Data = (w) =>
        w.nest(NFTA_DATA_VERDICT, (v) => v.attributeU32Be(NFTA_VERDICT_CODE, code));
      return ["immediate", (w) => w.attributeU32Be(1, NFT_REG_VERDICT).nest(2, verdict)];
    }
  }
}

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
  | Extract<NftExpression, { is: "meta" | "compare" | "counter" | "verdict" }>
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
    const key = keyOf(META_KEYS, attributeNumberBe(data.get(2)));
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
    const verdict =
      given && keyOf(VERDICTS, attributeNumberBe(parseAttributes(given).get(NFTA_VERDICT_CODE)));
    return verdict && { is: "verdict", verdict };
  }
  return undefined;
}

function keyOf<K extends string>(names: Record<K, number>, number: number | undefined): K | undefined {
  for (const name in names) if (names[name] === number) return name;
  return undefined;
}

import { expect, test } from "bun:test";
import fc from "fast-check";
import { NetlinkWriter } from "./attributes.ts";
import { type NftExpression, parseExpressions, writeExpressions } from "./nftables-expression.ts";
import { addRule, deleteRule, parseRule } from "./nftables-requests.ts";
import { linkKey, nftMap, parseElements, parseSetLinks } from "./nftables-sets.ts";

const TABLE = { family: "ip", name: "t" } as const;
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

test("parseExpressions() reads what it understands of what writeExpressions() wrote", () => {
  const written: NftExpression[] = [
    { is: "meta", key: "oifname" },
    { is: "compare", equal: false, value: linkKey("eth0") },
    { is: "lookup", set: "links" },
    { is: "masquerade" },
    { is: "counter" },
    { is: "verdict", verdict: "drop" },
  ];
  const writer = new NetlinkWriter();
  writeExpressions(writer, written);
  const others = { lookup: "lookup", masquerade: "masq" } as Record<string, string>;
  expect(parseExpressions(writer.written)).toEqual(
    written.map((expression) => {
      const name = others[expression.is];
      return name === undefined ? expression : { is: "other", name };
    }) as ReturnType<typeof parseExpressions>,
  );
});

test("addRule() writes big-endian numbers, and the family before the table", () => {
  const writer = new NetlinkWriter();
  addRule(TABLE, "c", [{ is: "meta", key: "iifname" }]).body(writer);
  expect(hex(writer.written)).toBe(
    "02000000" + // nfgenmsg: ip
      "0600010074000000" + // NFTA_RULE_TABLE t
      "0600020063000000" + // NFTA_RULE_CHAIN c
      "28000480" + // NFTA_RULE_EXPRESSIONS
      "24000180" + // NFTA_LIST_ELEM
      "090001006d65746100000000" + // NFTA_EXPR_NAME meta
      "14000280" + // NFTA_EXPR_DATA
      "0800010000000001" + // NFTA_META_DREG 1
      "0800020000000006", // NFTA_META_KEY iifname
  );
});

test("parseRule() reads the handle by which deleteRule() names it", () => {
  const writer = new NetlinkWriter();
  deleteRule(TABLE, "c", 0x1_0000_0002n).body(writer);
  expect(parseRule(writer.written)).toEqual({ handle: 0x1_0000_0002n, expressions: [] });
});

test("rules and sets of others can be any bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      parseExpressions(bytes);
      parseSetLinks(bytes);
      parseElements(bytes, nftMap("m", ["ipv4_addr", "inet_service"], ["ifname"]));
    }),
  );
});

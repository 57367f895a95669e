import { expect, test } from "bun:test";
import { attributeNumber, attributeText, NetlinkWriter, parseAttributes } from "./attributes.ts";
import { createIpvlan, createVlan } from "./stacked-link.ts";

/** What a request says in `IFLA_LINKINFO` (18): the kind (1) and its data (2), with the parent, `IFLA_LINK` (5). */
function read(request: { body(writer: NetlinkWriter): void }) {
  const writer = new NetlinkWriter();
  request.body(writer);
  const attributes = parseAttributes(writer.written.subarray(16));
  const info = parseAttributes(attributes.get(18) ?? new Uint8Array());
  const data = parseAttributes(info.get(2) ?? new Uint8Array());
  return {
    kind: attributeText(info.get(1)),
    parent: attributeNumber(attributes.get(5)),
    data: Object.fromEntries([...data].map(([type, value]) => [type, [...value]])),
  };
}

test("createIpvlan() and createVlan() say mode, flag and number as linux/if_link.h has them", () => {
  expect(read(createIpvlan({ name: "a", parent: 7, mode: "l3s", flag: "private" }))).toEqual({
    ...{ kind: "ipvlan", parent: 7 },
    data: { 1: [2, 0], 2: [1, 0] },
  });
  expect(read(createVlan({ name: "a.300", parent: 9, vlan: 300 }))).toEqual({
    ...{ kind: "vlan", parent: 9 },
    data: { 1: [44, 1] },
  });
});

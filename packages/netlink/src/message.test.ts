import { expect, test } from "bun:test";
import fc from "fast-check";
import { NetlinkWriter } from "./attributes.ts";
import { createVeth, deleteLink, macBytes, macText, parseLink } from "./link.ts";
import { HEADER_BYTES, parseReplies, writeRequest } from "./message.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

test("writeRequest() puts several requests into one datagram", () => {
  const writer = new NetlinkWriter();
  writeRequest(writer, deleteLink("a"), 7);
  writeRequest(writer, deleteLink("veth123"), 8);
  // nlmsghdr, ifinfomsg, IFLA_IFNAME: the lengths are the kernel's, the next message starts aligned.
  expect(hex(writer.written)).toBe(
    `28000000110005000700000000000000${"00".repeat(16)}0600030061000000` +
      `2c000000110005000800000000000000${"00".repeat(16)}0c00030076657468313233${"00"}`,
  );
});

test("createVeth() nests the peer as the kernel wants it", () => {
  const writer = new NetlinkWriter();
  createVeth({ name: "v0", mtu: 1500, peer: { name: "eth0", netns: 5, mac: "02:42:ac:11:00:02" } }).body(
    writer,
  );
  expect(hex(writer.written.subarray(16))).toBe(
    "0700030076300000" + // IFLA_IFNAME v0
      "08000400dc050000" + // IFLA_MTU 1500
      "50001280" + // IFLA_LINKINFO
      "0900010076657468" +
      "00000000" + // IFLA_INFO_KIND veth
      "40000280" + // IFLA_INFO_DATA
      `3c000180${"00".repeat(16)}` + // VETH_INFO_PEER, ifinfomsg
      "0900030065746830" +
      "00000000" + // IFLA_IFNAME eth0
      "08001c0005000000" + // IFLA_NET_NS_FD 5
      "0a0001000242ac110002" +
      "0000" + // IFLA_ADDRESS
      "08000400dc050000", // IFLA_MTU
  );
});

test("parseReplies() reads a result with the kernel's reason", () => {
  const writer = new NetlinkWriter();
  const reason = "No such device";
  // nlmsghdr of type NLMSG_ERROR, flags CAPPED and ACK_TLVS.
  writer.u32(0).u16(2).u16(0x300).u32(9).u32(0).i32(-19).bytes(new Uint8Array(HEADER_BYTES));
  writer.attributeString(1, reason).setU32(0, writer.length);
  expect(parseReplies(writer.written)).toEqual([{ is: "result", sequence: 9, errno: 19, reason }]);
});

test("parseReplies() survives any bytes", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void parseReplies(bytes)));
});

test("parseLink() takes a link of no kind for hardware", () => {
  const writer = new NetlinkWriter();
  writer.u8(0).u8(0).u16(1).i32(4).u32(1).u32(0);
  writer.attributeString(3, "eth0").attributeBytes(1, macBytes("02:fc:00:00:00:01")).attributeU32(4, 1400);
  expect(parseLink(writer.written)).toEqual({
    ...{ index: 4, name: "eth0", kind: undefined, mac: "02:fc:00:00:00:01" },
    ...{ mtu: 1400, master: undefined, parent: undefined, up: true },
  });
});

test("macBytes() and macText() are each other's inverse, and no other text is one", () => {
  const bytes = fc.uint8Array({ minLength: 6, maxLength: 6 });
  fc.assert(fc.property(bytes, (mac) => expect([...macBytes(macText(mac))]).toEqual([...mac])));
  for (const text of ["", "02:42", "02:42:ac:11:00:0g", "0242ac110002"])
    expect(() => macBytes(text)).toThrow();
});

import { expect, test } from "bun:test";
import fc from "fast-check";
import type { ForwarderOptions } from "../src/forwarder.ts";
import {
  CLASS_IN,
  FLAG,
  type Message,
  nameBytes,
  RCODE,
  readMessage,
  TYPE,
  writeMessage,
} from "../src/message.ts";
import { Resolver, type Zone } from "../src/resolver.ts";
import { a, answersOf, openUpstream, query, record, soa } from "./lab.ts";

const NAMES: Record<string, readonly string[]> = {
  web: ["10.0.0.2"],
  "web.front": ["10.0.0.2"],
  db: ["10.0.0.3", "10.0.0.4", "10.0.0.5"],
  six: ["10.0.0.6", "fd00::6"],
};

/** Of the clients in 10.0.0.*, which alone know the names. */
function open(upstreams: readonly string[] = [], options: ForwarderOptions = {}) {
  const ours = (client: string) => client.startsWith("10.0.0.");
  const zone: Zone = {
    names: (client, name) => (ours(client) ? NAMES[name] : undefined),
    pointer: (client, address) =>
      ours(client)
        ? { "10.0.0.2": "web.front", "fd00:0000:0000:0000:0000:0000:0000:0006": "six.front" }[address]
        : undefined,
    upstreams: () => upstreams,
  };
  const resolver = new Resolver(zone, { attemptMs: 200, ...options });
  const ask = async (bytes: Uint8Array, client = "10.0.0.9"): Promise<Message | undefined> => {
    const answer = await resolver.answer(client, bytes, "udp");
    return answer && readMessage(answer);
  };
  return { resolver, ask, [Symbol.dispose]: () => resolver[Symbol.dispose]() };
}

const OWN_FLAGS = FLAG.RESPONSE | FLAG.AUTHORITATIVE | FLAG.RECURSION_DESIRED | FLAG.RECURSION_AVAILABLE;

test("names of the zone are answered with authority, whatever their case", async () => {
  using lab = open();
  const answer = await lab.ask(query("Web.Front"));
  expect(answer).toMatchObject({ id: 4711, flags: OWN_FLAGS, rcode: RCODE.NOERROR });
  expect(answer?.questions).toEqual([{ name: "Web.Front", type: TYPE.A, class: CLASS_IN }]);
  expect(answer?.answers[0]).toMatchObject({ name: "Web.Front", type: TYPE.A, ttl: 600 });
  expect(answersOf(answer)).toEqual(["10.0.0.2"]);
  expect(answer?.edns).toBeUndefined();
});

test("several addresses take turns at being the first", async () => {
  using lab = open();
  const firsts = new Set<string | undefined>();
  for (let count = 0; count < 3; count++) {
    const found = answersOf(await lab.ask(query("db")));
    expect(found?.toSorted()).toEqual([...(NAMES.db ?? [])]);
    firsts.add(found?.[0]);
  }
  expect(firsts.size).toBe(3);
});

test("a name of the zone has what its addresses are, and nothing else, and never leaves", async () => {
  using upstream = await openUpstream(() => ({ rcode: RCODE.NXDOMAIN }));
  using lab = open([upstream.address]);
  for (const type of [TYPE.AAAA, TYPE.MX, TYPE.TXT, TYPE.SRV])
    expect(await lab.ask(query("web", type))).toMatchObject({ flags: OWN_FLAGS, rcode: 0, answers: [] });
  expect(answersOf(await lab.ask(query("six", TYPE.AAAA)))).toEqual(["fd000000000000000000000000000006"]);
  expect((await lab.ask(query("six", TYPE.ANY)))?.answers).toHaveLength(2);
  expect(upstream.asked).toEqual([]);
  // Those of another network are unknown names to a client.
  expect(await lab.ask(query("web"), "10.1.1.1")).toMatchObject({ rcode: RCODE.NXDOMAIN });
});

test("addresses of the zone have names", async () => {
  using upstream = await openUpstream(() => ({ rcode: RCODE.NXDOMAIN }));
  using lab = open([upstream.address]);
  const [pointer] = (await lab.ask(query("2.0.0.10.in-addr.arpa", TYPE.PTR)))?.answers ?? [];
  expect(pointer).toMatchObject({ type: TYPE.PTR, ttl: 600 });
  expect(Buffer.from(pointer?.data ?? []).toString()).toBe("\x03web\x05front\0");
  const six = `6${".0".repeat(27)}.0.0.d.f.ip6.arpa`;
  expect((await lab.ask(query(six, TYPE.PTR)))?.answers).toHaveLength(1);
  expect(await lab.ask(query("77.0.0.10.in-addr.arpa", TYPE.PTR))).toMatchObject({ rcode: RCODE.NXDOMAIN });
});

test("everything else is asked of the upstream, once for all who wait, and kept", async () => {
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  using upstream = await openUpstream(async ({ question }) => {
    await released;
    return {
      answers: [a(question.name, "192.0.2.1")],
      additionals: [record("x", TYPE.TXT, Uint8Array.of(0))],
    };
  });
  using lab = open([upstream.address]);
  const all = Array.from({ length: 50 }, (_, index) =>
    lab.ask(query(index % 2 ? "a.Test" : "A.tesT", TYPE.A, { id: index })),
  );
  release();
  for (const [index, answer] of (await Promise.all(all)).entries()) {
    expect(answer).toMatchObject({ id: index, flags: OWN_FLAGS & ~FLAG.AUTHORITATIVE });
    expect(answer?.questions[0]?.name).toBe(index % 2 ? "a.Test" : "A.tesT");
    expect(answersOf(answer)).toEqual(["192.0.2.1"]);
    expect(answer?.additionals).toHaveLength(1);
  }
  expect(answersOf(await lab.ask(query("a.test")))).toEqual(["192.0.2.1"]);
  expect(upstream.asked).toHaveLength(1);
  // Single labels, too: search domains are the client's.
  await lab.ask(query("router"));
  expect(upstream.asked.at(-1)?.question.name).toBe("router");
  expect(upstream.asked.at(-1)?.message).toMatchObject({
    flags: FLAG.RECURSION_DESIRED,
    edns: { udpBytes: 1232 },
  });
});

test("ids and ports that other servers are asked with can't be guessed", async () => {
  using upstream = await openUpstream(({ question }) => ({ answers: [a(question.name, "192.0.2.1")] }));
  using lab = open([upstream.address]);
  for (let count = 0; count < 40; count++) await lab.ask(query(`n${count}.test`));
  expect(new Set(upstream.asked.map(({ message }) => message.id)).size).toBeGreaterThan(35);
  expect(new Set(upstream.asked.map(({ port }) => port)).size).toBeGreaterThan(30);
});

test("answers with a wrong id or question are not taken", async () => {
  using upstream = await openUpstream(({ message, question, transport }) => {
    if (transport === "udp" && question.name === "id.test")
      return { id: message.id ^ 1, answers: [a("id.test", "192.0.2.66")] };
    if (question.name === "question.test")
      return { questions: [{ ...question, name: "other.test" }], answers: [a("other.test", "192.0.2.66")] };
    return Buffer.from("rubbish");
  });
  using lab = open([upstream.address], { attemptMs: 30 });
  for (const name of ["id.test", "question.test", "rubbish.test"])
    expect(await lab.ask(query(name))).toMatchObject({ rcode: RCODE.SERVFAIL, answers: [] });
});

test("what is not there is kept as long as the zone says, by type and by name", async () => {
  using upstream = await openUpstream(({ question }) => ({
    rcode: question.name === "no.test" ? RCODE.NXDOMAIN : RCODE.NOERROR,
    authorities: question.name === "unsaid.test" ? [] : [soa("test", 60)],
  }));
  using lab = open([upstream.address]);
  for (let count = 0; count < 3; count++) {
    expect(await lab.ask(query("no.test"))).toMatchObject({ rcode: RCODE.NXDOMAIN, answers: [] });
    expect(await lab.ask(query("v4.test", TYPE.AAAA))).toMatchObject({ rcode: RCODE.NOERROR, answers: [] });
    await lab.ask(query("unsaid.test"));
  }
  expect(upstream.asked.map(({ question }) => question.name).toSorted()).toEqual([
    "no.test",
    "unsaid.test",
    "unsaid.test",
    "unsaid.test",
    "v4.test",
  ]);
});

test("an answer that was cut off is asked for by TCP, and cut off for a client that takes no more", async () => {
  const data = Buffer.alloc(200, 1);
  const texts = Array.from({ length: 20 }, (_, index) =>
    record("big.test", TYPE.TXT, Buffer.concat([Buffer.of(199), data.subarray(0, 198), Buffer.of(index)])),
  );
  using upstream = await openUpstream(({ transport }) =>
    transport === "udp"
      ? { flags: FLAG.RESPONSE | FLAG.TRUNCATED, answers: texts.slice(0, 1) }
      : { answers: texts },
  );
  using lab = open([upstream.address]);
  const udp = await lab.ask(query("big.test", TYPE.TXT));
  expect(udp?.answers).toHaveLength(2);
  expect((udp?.flags ?? 0) & FLAG.TRUNCATED).toBe(FLAG.TRUNCATED);
  const larger = await lab.ask(
    query("big.test", TYPE.TXT, { edns: { udpBytes: 1400, version: 0, dnssecOk: false } }),
  );
  expect(larger?.answers).toHaveLength(6);
  expect(larger?.edns).toEqual({ udpBytes: 1232, version: 0, dnssecOk: false });
  const tcp = await lab.resolver.answer("10.0.0.9", query("big.test", TYPE.TXT), "tcp");
  expect(tcp && readMessage(tcp)?.answers).toHaveLength(20);
  expect(upstream.asked.map(({ transport }) => transport)).toEqual(["udp", "tcp"]);
});

test("the next upstream is asked when one refuses, fails, is silent or not there; a silent one comes last then", async () => {
  using good = await openUpstream(({ question }) => ({ answers: [a(question.name, "192.0.2.1")] }));
  using failing = await openUpstream(() => ({ rcode: RCODE.SERVFAIL }));
  using refusing = await openUpstream(() => ({ rcode: RCODE.REFUSED }));
  using silent = await openUpstream(() => undefined);
  using nobody = await openUpstream(() => undefined);
  const { address: absent } = nobody;
  nobody[Symbol.dispose]();
  using lab = open([failing.address, refusing.address, absent, silent.address, good.address]);
  expect(answersOf(await lab.ask(query("a.test")))).toEqual(["192.0.2.1"]);
  expect(silent.asked).toHaveLength(1);
  expect(answersOf(await lab.ask(query("b.test")))).toEqual(["192.0.2.1"]);
  expect(silent.asked).toHaveLength(1);
});

test("a lost packet is sent again; a late answer is still one", async () => {
  let lost = true;
  using forgetful = await openUpstream(({ question }) => {
    if (lost) {
      lost = false;
      return undefined;
    }
    return { answers: [a(question.name, "192.0.2.1")] };
  });
  using lab = open([forgetful.address], { attemptMs: 50 });
  expect(answersOf(await lab.ask(query("a.test")))).toEqual(["192.0.2.1"]);
  expect(forgetful.asked).toHaveLength(2);

  using silent = await openUpstream(() => undefined);
  using late = await openUpstream(async ({ question }) => {
    await Bun.sleep(120);
    return { answers: [a(question.name, "192.0.2.2")] };
  });
  using other = open([late.address, silent.address], { attemptMs: 50 });
  expect(answersOf(await other.ask(query("a.test")))).toEqual(["192.0.2.2"]);
});

test("no upstream, or none that answers, is a failure; what they say of it is told", async () => {
  using none = open([]);
  expect(await none.ask(query("a.test"))).toMatchObject({ rcode: RCODE.SERVFAIL, answers: [] });
  using silent = await openUpstream(() => undefined);
  using lab = open([silent.address, "nonsense"], { attemptMs: 30 });
  expect(await lab.ask(query("a.test"))).toMatchObject({ rcode: RCODE.SERVFAIL });
  using refusing = await openUpstream(() => ({ rcode: RCODE.REFUSED }));
  using refused = open([refusing.address], { attemptMs: 30 });
  expect(await refused.ask(query("a.test"))).toMatchObject({ rcode: RCODE.REFUSED });
});

test("servers from before EDNS are asked without it", async () => {
  using old = await openUpstream(({ message, question }) =>
    message.edns ? { rcode: RCODE.FORMERR } : { answers: [a(question.name, "192.0.2.1")] },
  );
  using lab = open([old.address]);
  expect(answersOf(await lab.ask(query("a.test")))).toEqual(["192.0.2.1"]);
});

test("records of unknown types and SRV pass through as they are", async () => {
  const target = nameBytes("host.test") ?? new Uint8Array();
  const srv = record("_s._tcp.test", TYPE.SRV, Buffer.concat([Buffer.from("000100020050", "hex"), target]));
  const odd = record("odd.test", 65_280, Uint8Array.of(0xc0, 0x0c, 1, 2));
  using upstream = await openUpstream(({ question }) => ({
    answers: question.type === TYPE.SRV ? [srv] : [odd],
  }));
  using lab = open([upstream.address]);
  expect((await lab.ask(query("_s._tcp.test", TYPE.SRV)))?.answers[0]?.data).toEqual(
    new Uint8Array(srv.data),
  );
  expect((await lab.ask(query("odd.test", 65_280)))?.answers[0]?.data).toEqual(odd.data);
});

test("bits of DNSSEC go to the upstream and back, each combination for itself", async () => {
  using upstream = await openUpstream(({ message, question }) => ({
    flags: FLAG.RESPONSE | FLAG.AUTHENTIC_DATA | (message.flags & FLAG.CHECKING_DISABLED),
    answers: [a(question.name, message.edns?.dnssecOk ? "192.0.2.2" : "192.0.2.1")],
  }));
  using lab = open([upstream.address]);
  const plain = await lab.ask(query("a.test"));
  expect([answersOf(plain), (plain?.flags ?? 0) & FLAG.AUTHENTIC_DATA]).toEqual([["192.0.2.1"], 0]);
  const ok = await lab.ask(query("a.test", TYPE.A, { edns: { udpBytes: 4096, version: 0, dnssecOk: true } }));
  expect([answersOf(ok), (ok?.flags ?? 0) & FLAG.AUTHENTIC_DATA]).toEqual([
    ["192.0.2.2"],
    FLAG.AUTHENTIC_DATA,
  ]);
  expect(ok?.edns?.dnssecOk).toBe(true);
  await lab.ask(query("a.test", TYPE.A, { flags: FLAG.RECURSION_DESIRED | FLAG.CHECKING_DISABLED }));
  expect((upstream.asked.at(-1)?.message.flags ?? 0) & FLAG.CHECKING_DISABLED).toBe(FLAG.CHECKING_DISABLED);
});

test("queries that are none of ours are refused by what they are", async () => {
  using lab = open();
  const rcodeOf = async (bytes: Uint8Array) => (await lab.ask(bytes))?.rcode;
  expect(await rcodeOf(query("web", TYPE.A, { flags: 0x2800 }))).toBe(RCODE.NOTIMP);
  expect(await rcodeOf(query("web", TYPE.A, { questions: [] }))).toBe(RCODE.FORMERR);
  expect(await rcodeOf(query("web", TYPE.AXFR))).toBe(RCODE.REFUSED);
  expect(
    await rcodeOf(query("web", TYPE.A, { questions: [{ name: "version.bind", type: TYPE.TXT, class: 3 }] })),
  ).toBe(RCODE.REFUSED);
  expect(await rcodeOf(query("web", TYPE.A, { edns: { udpBytes: 512, version: 1, dnssecOk: false } }))).toBe(
    RCODE.BADVERS,
  );
  const broken = query("web").subarray(0, -1);
  expect(await lab.ask(broken)).toMatchObject({ id: 4711, rcode: RCODE.FORMERR, questions: [] });
  expect(await lab.ask(query("web", TYPE.A, { flags: FLAG.RESPONSE }))).toBeUndefined();
  expect(await lab.ask(Buffer.from("short"))).toBeUndefined();
});

test("any bytes get an answer or none, and nothing is thrown", async () => {
  using lab = open();
  const head = query("web", TYPE.A, { edns: { udpBytes: 512, version: 0, dnssecOk: false } });
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    fc
      .array(fc.tuple(fc.nat(head.length - 1), fc.integer({ min: 0, max: 255 })), { maxLength: 6 })
      .map((changes) => {
        const bent = Buffer.from(head);
        for (const [at, value] of changes) bent[at] = value;
        return bent;
      }),
  );
  await fc.assert(
    fc.asyncProperty(bytes, async (some) => {
      const answer = await lab.resolver.answer("10.0.0.9", some, "udp");
      if (answer === undefined) return;
      const read = readMessage(answer);
      expect((read?.flags ?? 0) & FLAG.RESPONSE).toBe(FLAG.RESPONSE);
      expect(read?.id).toBe(Buffer.from(some).readUInt16BE());
    }),
    { numRuns: 3000 },
  );
});

test("an upstream may say any bytes", async () => {
  const says: Uint8Array[] = [];
  using upstream = await openUpstream(({ message, question }) => {
    const { bytes } = writeMessage({
      ...message,
      flags: FLAG.RESPONSE,
      answers: [a(question.name, "192.0.2.1")],
    });
    for (let count = 0; count < 3; count++)
      bytes[2 + Math.floor(Math.random() * (bytes.length - 2))] = Math.floor(Math.random() * 256);
    says.push(bytes);
    return bytes;
  });
  using lab = open([upstream.address], { attemptMs: 20, rounds: 1 });
  const answers = await Promise.all(
    Array.from({ length: 300 }, (_, index) => lab.ask(query(`n${index}.test`))),
  );
  expect(answers.every((answer) => answer?.id === 4711)).toBe(true);
});

test("names of ours are answered at once while the upstream is silent, however many wait for it", async () => {
  using upstream = await openUpstream(() => undefined);
  using lab = open([upstream.address], { maxAsked: 4, maxWaiting: 50, attemptMs: 60_000 });
  const waiting = Array.from({ length: 50 }, (_, index) => lab.ask(query(`n${index}.test`)));
  expect(answersOf(await lab.ask(query("web")))).toEqual(["10.0.0.2"]);
  expect((await lab.ask(query("2.0.0.10.in-addr.arpa", TYPE.PTR)))?.rcode).toBe(RCODE.NOERROR);
  expect(await Promise.race([...waiting, "still waiting"])).toBe("still waiting");
});

test("more questions than may be asked at a time wait for their turn", async () => {
  let at = 0;
  let most = 0;
  using upstream = await openUpstream(async ({ question }) => {
    most = Math.max(most, ++at);
    await Bun.sleep(1);
    at--;
    return { answers: [a(question.name, "192.0.2.1")] };
  });
  using lab = open([upstream.address], { maxAsked: 8, maxWaiting: 150, attemptMs: 2000 });
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, index) => lab.ask(query(`n${index}.test`))),
  );
  expect(answers.filter((answer) => answer?.rcode === RCODE.NOERROR)).toHaveLength(158);
  expect(answers.filter((answer) => answer?.rcode === RCODE.SERVFAIL)).toHaveLength(42);
  expect(most).toBeLessThanOrEqual(8);
  expect(lab.resolver.cached.entries).toBe(158);
});

import { expect, test } from "bun:test";
import { createLogger } from "./index.ts";
import { toLogfmt } from "./logfmt.ts";

test("toLogfmt() writes a line of pino's as Docker's daemons write text", () => {
  const lines: string[] = [];
  const log = createLogger("x", { stream: { write: (line) => lines.push(toLogfmt(line)) } });
  log.info({ id: "ab12", hosts: ["unix:///x"], empty: "" }, 'say "it"');
  log.warn({ err: new Error("broken\nin two") }, "oh");
  expect(lines[0]).toMatch(
    /^time="\d{4}-\d\d-\d\dT[\d:.]+Z" level=info msg="say \\"it\\"" id=ab12 hosts="\[\\"unix:\/\/\/x\\"\]" empty=""\n$/,
  );
  expect(lines[1]).toMatch(/level=warning msg="oh" error="broken\\nin two"\n$/);
  expect(toLogfmt("no JSON\n")).toBe("no JSON\n");
});

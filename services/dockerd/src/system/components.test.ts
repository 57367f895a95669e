import { expect, test } from "bun:test";
import { parseInitVersion, parseRuntimeVersion } from "./components.ts";

test("parseRuntimeVersion() reads runc's and crun's words", () => {
  const runc = "runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1+deb12u1\nspec: 1.0.2-dev\n";
  expect(parseRuntimeVersion(runc)).toEqual({ version: "1.1.5+ds1", commit: "1.1.5+ds1-1+deb12u1" });
  const crun = "crun version 1.8.1\ncommit: f8a096be060b22ccd3d5f3ebe44108517fbf6c30\n";
  expect(parseRuntimeVersion(crun)).toMatchObject({ version: "1.8.1" });
  expect(parseRuntimeVersion("something 1.0")).toBeUndefined();
});

test("parseInitVersion() reads tini's words, with and without what it was made of", () => {
  expect(parseInitVersion("tini version 0.19.0 - git.de40ad0\n")).toEqual({
    ...{ version: "0.19.0", commit: "de40ad0" },
  });
  expect(parseInitVersion("tini version 0.19.0\n")).toEqual({ version: "0.19.0", commit: "" });
  expect(parseInitVersion("catatonit 0.2")).toBeUndefined();
});

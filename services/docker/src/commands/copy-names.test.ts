import { expect, test } from "bun:test";
import { lastName, patternOf, placeCopy, renamed, splitArgument, topName } from "./copy-names.ts";

const end = (path: string, kind: "missing" | "file" | "directory") => ({
  path,
  exists: kind !== "missing",
  isDirectory: kind === "directory",
});

test("splitArgument() takes what begins with a slash or a dot for a path", () => {
  expect(splitArgument("web:/etc/x")).toEqual({ container: "web", path: "/etc/x" });
  expect(splitArgument("./web:x")).toEqual({ container: undefined, path: "./web:x" });
  expect(splitArgument("/a:b")).toEqual({ container: undefined, path: "/a:b" });
  expect(splitArgument("file")).toEqual({ container: undefined, path: "file" });
});

test("placeCopy() has Docker's rules", () => {
  const [file, directory] = [end("s", "file"), end("s", "directory")];
  expect(placeCopy(file, "s", end("/d", "directory"))).toEqual({ directory: "/d", name: "s" });
  expect(placeCopy(file, "s", end("/d/f", "file"))).toEqual({ directory: "/d", name: "f" });
  expect(placeCopy(file, "s", end("/d/new", "missing"))).toEqual({ directory: "/d", name: "new" });
  expect(placeCopy(directory, ".", end("/d/new", "missing"))).toEqual({ directory: "/d", name: "new" });
  expect(placeCopy(directory, "s", end("/d/new/", "missing"))).toEqual({ directory: "/d", name: "new" });
  expect(() => placeCopy(directory, "s", end("/f", "file"))).toThrow("cannot copy directory");
  expect(() => placeCopy(file, "s", end("/new/", "missing"))).toThrow("no such directory");
});

test("renamed() changes the first part only, and lastName() keeps a dot", () => {
  expect(renamed("a/a/b", "a", "x")).toBe("x/a/b");
  expect(renamed("./b", ".", "x")).toBe("x/b");
  expect(renamed("/b", "", "x")).toBe("x/b");
  expect(lastName("/a/b/")).toBe("b");
  expect(lastName("/a/.")).toBe(".");
});

test("topName() is the first name in a directory, never the directory itself or what is above", () => {
  for (const entry of ["./", ".", "/", "../e", "./../f"]) expect(topName(entry)).toBeUndefined();
  expect(["./a", "./a/b/", "c", "./.d", "./..e"].map(topName)).toEqual(["a", "a", "c", ".d", "..e"]);
});

test("patternOf() knows wildcards, and takes all else as it is", () => {
  const names = ["a.log", "b.log", "a.logx", ".log", "a(1).log", "c-d", "ü.log", "a\nb"];
  const matching = (pattern: string) => names.filter((name) => patternOf(pattern)?.test(name));
  expect(patternOf("a.log")).toBeUndefined();
  expect(matching("*.log")).toEqual(["a.log", "b.log", ".log", "a(1).log", "ü.log"]);
  expect(matching("?.log")).toEqual(["a.log", "b.log", "ü.log"]);
  expect(matching("[b-z].log")).toEqual(["b.log"]);
  expect(matching("[^a].log")).toEqual(["b.log", "ü.log"]);
  expect(matching("a(*).log")).toEqual(["a(1).log"]);
  expect(matching("[c]-d")).toEqual(["c-d"]);
  expect(matching("a?b")).toEqual(["a\nb"]);
  expect(matching("\\*.log")).toEqual([]);
  expect(patternOf("\\*[.]log")?.test("*.log")).toBe(true);
  expect(() => patternOf("[z-a]")).toThrow("[z-a]: syntax error in pattern");
});

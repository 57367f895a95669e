import { describe, expect, test } from "bun:test";
import { showImageConfig } from "./inspect-image.ts";

const of = (version: number) => ({ atLeast: (than: string) => version >= Number(than.split(".")[1]) });

describe("showImageConfig()", () => {
  const config = {
    Cmd: ["sh"],
    Env: [],
    Labels: {},
    Volumes: null,
    StopSignal: "TERM",
    Hostname: "h",
    Image: "i",
  };

  test("shows a container's settings too, before 1.50", () => {
    expect(showImageConfig(config, of(49))).toMatchObject({
      ...config,
      ...{ Domainname: "", AttachStdin: false, Tty: false, OpenStdin: false, StdinOnce: false },
      ...{ User: "", WorkingDir: "", Entrypoint: null, OnBuild: null },
    });
  });

  test("shows what an image can say, from 1.50 on", () => {
    expect(showImageConfig(config, of(50))).toEqual({
      ...{ User: "", Env: [], Cmd: ["sh"], Volumes: null, WorkingDir: "" },
      ...{ Entrypoint: null, OnBuild: null, Labels: {}, StopSignal: "TERM" },
    });
  });

  test("leaves out what is empty, from 1.52 on", () => {
    expect(showImageConfig(config, of(52))).toEqual({ Cmd: ["sh"], StopSignal: "TERM" });
    expect(showImageConfig(null, of(52))).toEqual({});
  });
});

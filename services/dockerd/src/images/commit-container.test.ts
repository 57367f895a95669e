import { expect, test } from "bun:test";
import { completed } from "./commit-container.ts";

test("completed() keeps what is given, and takes the rest from the container", () => {
  const own = {
    ...{ User: "0", Env: ["A=1", "B=2"], Labels: { l: "1", k: "1" }, WorkingDir: "/w", StopSignal: "INT" },
    ...{ ExposedPorts: { "80/tcp": {} }, Volumes: { "/v": {} }, Entrypoint: ["sh"], Cmd: ["-c", "x"] },
    Healthcheck: { Test: ["CMD", "true"], Interval: 5 },
  };
  const given = {
    ...{ User: "7", Env: ["C=3", "A=2"], Labels: { l: "2" }, ExposedPorts: { "90/tcp": {} }, WorkingDir: "" },
    Healthcheck: { Test: [], Retries: 2 },
  };
  expect(completed(given, own)).toEqual({
    ...{ User: "7", Labels: { l: "2", k: "1" }, WorkingDir: "/w", StopSignal: "INT", Volumes: { "/v": {} } },
    ...{ Env: ["A=2", "B=2", "C=3"], ExposedPorts: { "80/tcp": {}, "90/tcp": {} } },
    ...{ Entrypoint: ["sh"], Cmd: ["-c", "x"] },
    Healthcheck: { Test: ["CMD", "true"], Interval: 5, Retries: 2 },
  });
  const commands = ({ Entrypoint, Cmd }: ReturnType<typeof completed>) => [Entrypoint, Cmd];
  expect(commands(completed({ Cmd: ["y"] }, own))).toEqual([["sh"], ["y"]]);
  expect(commands(completed({ Entrypoint: ["/e"] }, own))).toEqual([["/e"], null]);
  expect(commands(completed({ Entrypoint: [] }, own))).toEqual([[], ["-c", "x"]]);
});

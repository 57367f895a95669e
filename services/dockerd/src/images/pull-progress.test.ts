import { expect, test } from "bun:test";
import { BlobProgress_State as State } from "@longshore/api/longshore/registry/v1/registry";
import { humanBytes, PullProgress, progressBar } from "./pull-progress.ts";

const digest = `sha256:${"0123456789ab".padEnd(64, "0")}`;
const layer = { mediaType: "", digest, size: 100n, annotations: {} };
const blob = (state: State, offset = 0n) => ({ digest, state, offset, total: 100n });

test("PullProgress tells of a layer in Docker's words", () => {
  const progress = new PullProgress([layer], false);
  const lines = [
    ...progress.start(),
    ...progress.blob(blob(State.PENDING)),
    ...progress.blob(blob(State.PENDING)),
    ...progress.blob(blob(State.DOWNLOADING, 50n)),
    ...progress.blob(blob(State.VERIFYING)),
    ...progress.blob(blob(State.COMPLETE)),
    ...progress.layer(digest, "extracting", { offset: 30, total: 100 }),
    ...progress.layer(digest, "extracting", { offset: 100, total: 100 }),
    ...progress.layer(digest, "complete", { offset: 100, total: 100 }),
  ];
  expect(lines.map(({ status }) => status)).toEqual([
    "Pulling fs layer",
    "Waiting",
    "Downloading",
    "Verifying Checksum",
    "Download complete",
    "Extracting",
    "Extracting",
    "Pull complete",
  ]);
  expect(lines.every(({ id }) => id === "0123456789ab")).toBe(true);
  expect(lines[2]?.progressDetail).toEqual({ current: 50, total: 100 });
  expect(lines[5]?.progressDetail).toEqual({ current: 30, total: 100 });
});

test("PullProgress says nothing of the layers of an image that is up to date, nor of manifests", () => {
  const progress = new PullProgress([layer], true);
  expect(progress.start()).toEqual([]);
  expect(progress.blob(blob(State.EXISTS))).toEqual([]);
  expect(progress.layer(digest, "exists", { offset: 0, total: 100 })).toEqual([]);
  expect(progress.blob({ ...blob(State.COMPLETE), digest: `sha256:${"f".repeat(64)}` })).toEqual([]);
});

test("progressBar() and humanBytes() print as Docker does", () => {
  expect(humanBytes(1_048_576)).toBe("1.049MB");
  expect(humanBytes(512)).toBe("512B");
  expect(progressBar({ current: 50, total: 100 })).toBe(
    `[${"=".repeat(25)}>${" ".repeat(25)}]      50B/100B`,
  );
});

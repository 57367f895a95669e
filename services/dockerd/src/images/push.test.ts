import { expect, test } from "bun:test";
import { PushProgress, PushProgress_State as State } from "@longshore/api/longshore/registry/v1/registry";
import { PushLines } from "./push.ts";

const digest = `sha256:${"a".repeat(64)}`;
const lines = () =>
  new PushLines({
    layers: [{ mediaType: "", digest, size: 100n, annotations: {} }],
    config: {
      architecture: "amd64",
      os: "linux",
      rootfs: { type: "layers", diff_ids: [`sha256:${"b".repeat(64)}`] },
    },
  });

test("PushLines tells of a layer in Docker's words, each once, by its diff id", () => {
  const push = lines();
  const of = (state: State, more: Partial<PushProgress> = {}) =>
    push.of(PushProgress.fromPartial({ digest, state, ...more }));
  const id = "b".repeat(12);
  expect(of(State.PREPARING)).toEqual([{ status: "Preparing", progressDetail: {}, id }]);
  expect(of(State.PREPARING)).toEqual([]);
  expect(of(State.WAITING)).toEqual([{ status: "Waiting", progressDetail: {}, id }]);
  expect(of(State.UPLOADING, { offset: 50n, total: 100n })).toMatchObject([
    { status: "Pushing", progressDetail: { current: 50, total: 100 }, id },
  ]);
  expect(of(State.COMPLETE)).toEqual([{ status: "Pushed", progressDetail: {}, id }]);
  expect(of(State.MOUNTED, { mountedFrom: "library/base" })).toEqual([
    { status: "Mounted from library/base", progressDetail: {}, id },
  ]);
});

test("PushLines says nothing of the config", () => {
  const progress = PushProgress.fromPartial({ digest: `sha256:${"c".repeat(64)}`, state: State.COMPLETE });
  expect(lines().of(progress)).toEqual([]);
});

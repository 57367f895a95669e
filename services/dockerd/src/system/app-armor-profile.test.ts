import { expect, test } from "bun:test";
import { defaultProfile } from "./app-armor-profile.ts";

test("a profile takes signals from the daemon's own, and needs no file of the host", () => {
  const bare = { name: "docker-default", daemon: "unconfined", hasTunables: false, hasBase: false };
  const text = defaultProfile(bare);
  expect(text).toStartWith("@{PROC}=/proc/\nprofile");
  expect(text).not.toContain("#include");
  expect(text.match(/peer="unconfined"/g)).toHaveLength(1);
  expect(text).toContain("  deny mount,\n");
  const full = defaultProfile({ ...bare, daemon: "/usr/bin/dockerd", hasTunables: true, hasBase: true });
  expect(full).toContain("#include <tunables/global>\n");
  expect(full).toContain('  signal (receive) peer="/usr/bin/dockerd",\n');
});

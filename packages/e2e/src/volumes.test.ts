import { afterAll, afterEach, beforeAll } from "bun:test";
import { tempDir } from "@longshore/testkit";
import { volumesByClient } from "./volumes/by-client.ts";
import { volumesOfOurs } from "./volumes/of-ours.ts";
import { FILLED } from "./volumes/scene.ts";
import { useWorld } from "./world.ts";

const world = useWorld();

let dir: ReturnType<typeof tempDir>;
beforeAll(async () => {
  dir = tempDir();
  const docker = world().docker();
  const script =
    "mkdir -p /data/sub && echo hello >/data/sub/file && chmod 640 /data/sub/file && chown -R 12:34 /data && " +
    "chmod 1750 /data && ln /data/sub/file /data/again && ln -s /etc/passwd /data/link && chown -h 12:34 /data/link && " +
    "ln -s /data/sub /short && ln -s ../../../../etc /outside";
  await docker("run", "--name", "maker", world().busybox, "sh", "-c", script);
  await docker("commit", "--change", "VOLUME /data", "maker", FILLED);
  await docker("rm", "maker");
  world().engine.mark();
});
afterAll(() => dir[Symbol.dispose]());

afterEach(async () => {
  const docker = world().docker();
  const ids = await docker("ps", "-aq");
  if (ids !== "") await docker("rm", "-f", "-v", ...ids.split("\n"));
  const volumes = await docker("volume", "ls", "-q");
  if (volumes !== "") await docker("volume", "rm", ...volumes.split("\n"));
});

const scene = { world, dir: () => dir.path };
volumesByClient(scene);
volumesOfOurs(scene);

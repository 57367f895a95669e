import { packTree, unpackTree } from "@longshore/archive";
import { EngineError, isErrno } from "@longshore/errors";
import type { Container, ContainerRecord } from "../containers/container.ts";
import { emitContainerEvent } from "../containers/container-events.ts";
import { findPath, isMadeUp, showStat } from "../copy/container-path.ts";
import { withRoot } from "../copy/open-root.ts";
import type { Engine } from "../engine.ts";
import type { ApiCall } from "../http/call.ts";
import type { Route } from "../http/server.ts";
import { readUserFiles } from "../spec/layered-root.ts";
import { resolveUser } from "../spec/user.ts";

const STAT_HEADER = "X-Docker-Container-Path-Stat";
/** What is mounted there is the runtime's: devices, which no ordinary user can make a copy of. */
const DEVICES = "dev";

/** Files into and out of containers: what `docker cp` does. */
export function archiveRoutes(engine: Engine): Route[] {
  const path = "/containers/:id/archive";
  const find = (call: ApiCall) => {
    pathOf(call);
    return engine.containers.find(call.param("id"));
  };
  return [
    {
      method: "HEAD",
      path,
      handler: (call) =>
        withRoot(engine, find(call), async (tree) => {
          const found = findPath(tree, pathOf(call), call.param("id"));
          call.text(200, "", statHeader(showStat(tree, found)));
        }),
    },
    {
      method: "GET",
      path,
      handler: async (call) => {
        const container = find(call);
        await withRoot(engine, container, async (tree) => {
          const found = findPath(tree, pathOf(call), call.param("id"));
          emitContainerEvent(engine, container, "archive-path");
          // Clients put another name before those of the root's entries, which begin with the slash alone.
          const name = found.name === "/" ? "" : found.name;
          const tar = packTree(tree, found.path, name, {
            leaveOut: ({ path, fd }) => (path === DEVICES && path !== found.path) || isMadeUp(fd),
          });
          await call.send("application/x-tar", tar, statHeader(showStat(tree, found)));
        });
      },
    },
    {
      method: "PUT",
      path,
      handler: async (call) => {
        const container = find(call);
        await putArchive(engine, call, container);
        call.text(200, "");
      },
    },
  ];
}

async function putArchive(engine: Engine, call: ApiCall, container: Container): Promise<void> {
  const { record } = container;
  const given = pathOf(call);
  const keepKinds = call.flag("noOverwriteDirNonDir");
  await withRoot(engine, container, async (tree) => {
    // Links are followed, also the last one.
    const found = findPath(tree, `${given.replace(/\/\.?$/, "")}/`, call.param("id"), {
      shown: given,
      notDirectory: "extraction point is not a directory",
    });
    const owner = call.flag("copyUIDGID") ? ownerOf(container, `/proc/self/fd/${tree.rootFd}`) : undefined;
    try {
      await unpackTree(tree, found.path, call.request, { keepKinds, owner });
    } catch (error) {
      throw explain(error, record, given);
    }
  });
  emitContainerEvent(engine, container, "extract-to-dir");
}

/** What the kernel refuses to write, in Docker's words where it has some. */
function explain(error: unknown, { mounts }: ContainerRecord, path: string): unknown {
  if (isErrno(error, "EROFS")) {
    const isMounted = mounts.some(({ destination }) => `${path}/`.startsWith(`${destination}/`));
    const what = isMounted ? "mounted volume" : "container rootfs";
    return new EngineError("permission_denied", `${what} is marked read-only`, { cause: error });
  }
  if (
    !isErrno(
      error,
      "ENOSPC",
      "EDQUOT",
      "ENOTDIR",
      "ELOOP",
      "ESTALE",
      "ENAMETOOLONG",
      "EXDEV",
      "EPERM",
      "EACCES",
    )
  )
    return error;
  const why = error instanceof Error ? error.message : String(error);
  return new EngineError("invalid_argument", why, { cause: error });
}

/** Who a container's processes are, when it says so; undefined: files stay whose they are. */
function ownerOf({ record }: Container, root: string): { uid: number; gid: number } | undefined {
  if (record.config.User === "") return undefined;
  const { uid = 0, gid = 0 } = resolveUser(record.config.User, readUserFiles([root]));
  return { uid, gid };
}

function pathOf(call: ApiCall): string {
  const path = call.query.get("path") ?? "";
  if (path === "") throw new EngineError("invalid_argument", "bad parameter: 'path' cannot be empty");
  return path.startsWith("/") ? path : `/${path}`;
}

function statHeader(stat: object): Record<string, string> {
  return { [STAT_HEADER]: Buffer.from(JSON.stringify(stat)).toString("base64") };
}
